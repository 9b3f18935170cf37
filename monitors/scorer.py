"""A package run over many rows: one odd row takes no other with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitors.raw_inputs import Batch
from serinus.errors import BadInput, InvalidPackage
from serinus.execute import Executor

__all__ = ["Answers", "Scorer", "known"]

MOST_FAILURES = 1_000
"""Rows at which a graph failed after which a batch is no longer searched for the odd ones: it is the graph."""
Answers = dict[str, NDArray[Any]]
"""Task -> answers of all rows of all requests, float, shape (rows, *shape of one); NaN where there is none."""


@dataclass(frozen=True, slots=True)
class Scorer:
    """`tasks`: those that are asked; `who`: its name in `unusable`, which counts rows without an answer by reason."""

    executor: Executor
    tasks: tuple[str, ...]
    names: frozenset[str]
    who: str
    unusable: Counter[str]

    @classmethod
    def of(cls, executor: Executor, tasks: frozenset[str], who: str, unusable: Counter[str]) -> Scorer:
        asked = tuple(task for task in executor.manifest.task_names if task in tasks)
        return cls(executor, asked, frozenset(spec.name for spec in executor.manifest.inputs), who, unusable)

    def answers(self, groups: Sequence[Batch], wanted: NDArray[np.bool_]) -> Answers:
        """The answers to the wanted rows. `wanted`: for every row of all requests. Raises InvalidPackage when a head
        changes the shape of its answers."""
        found: Answers = {}
        for group in groups:
            batch = group.take(wanted[group.at])
            if not len(batch.at):
                continue
            raw = {name: array for name, array in batch.raw.items() if name in self.names}
            try:
                self._fill(found, Batch(raw, batch.at), len(wanted))
            except BadInput as error:
                self.unusable[f"{self.who} refuses their inputs: {error.detail}"] += len(batch.at)
        return found

    def _fill(self, answers: Answers, batch: Batch, total: int) -> None:
        """Run the batch; where a graph fails, its halves."""
        rows = len(batch.at)
        try:
            found = self.executor.run(batch.raw, self.tasks)
        except InvalidPackage:
            if rows == 1 or self.unusable[f"{self.who} fails"] >= MOST_FAILURES:
                self.unusable[f"{self.who} fails"] += rows
                return
            for half in (slice(None, rows // 2), slice(rows // 2, None)):
                self._fill(answers, batch.take(half), total)
            return
        finite = np.ones(rows, np.bool_)
        for task, values in found.items():
            whole = answers.setdefault(task, np.full((total, *values.shape[1:]), np.nan))
            if values.shape != (rows, *whole.shape[1:]):
                raise InvalidPackage(f"task {task!r}: its head gives {values.shape} for {rows} rows")
            whole[batch.at] = values
            finite &= known(values)
        self.unusable[f"{self.who} gives no number"] += int((~finite).sum())


def known(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Rows whose answer is all numbers."""
    finite = np.isfinite(values)
    return np.asarray(finite.all(axis=tuple(range(1, values.ndim))))
