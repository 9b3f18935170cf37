"""Rows to learn from: raw inputs as the client sends them, and a label per task where there is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from serinus.training.targets import BINARY, Learnt, Target

__all__ = ["Dataset", "batches"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """`raw`: input -> [n], missing: NaN or the empty text. `labels`: task -> float [n], NaN: no label. `targets`: task
    -> what it predicts, where that is not binary.

    Raises ValueError for columns of different lengths and labels that are none of the task's kind."""

    raw: Mapping[str, npt.NDArray[Any]]
    labels: Mapping[str, npt.NDArray[np.floating[Any]]]
    targets: Mapping[str, Target] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sizes = {name: len(column) for name, column in (*self.raw.items(), *self.labels.items())}
        if not self.raw or len(set(sizes.values())) != 1:
            raise ValueError(f"every column needs the same number of rows: {sizes}")
        for task, column in self.labels.items():
            self.target(task).check(task, column)

    def __len__(self) -> int:
        return len(next(iter(self.raw.values())))

    def target(self, task: str) -> Target:
        """What a task predicts."""
        return self.targets.get(task, BINARY)

    def take(self, rows: npt.NDArray[np.int64] | slice) -> Dataset:
        """These rows, in this order."""
        return Dataset(
            {name: column[rows] for name, column in self.raw.items()},
            {task: column[rows] for task, column in self.labels.items()},
            self.targets,
        )

    def split(self, share: float, random: np.random.Generator | None = None) -> tuple[Dataset, Dataset]:
        """The first `share` of the rows and the rest: in their order (by time, say), or drawn by `random`."""
        if not 0 < share < 1:
            raise ValueError(f"share is {share}, not between 0 and 1")
        rows = np.arange(len(self)) if random is None else random.permutation(len(self))
        cut = round(share * len(self))
        return self.take(rows[:cut]), self.take(rows[cut:])

    def base_rate(self, task: str) -> float | tuple[float, ...]:
        """Share of ones among the labels of a task, 0.5 when it has none; the mean, or the shares of the classes."""
        return self.learnt(task).base_rate

    def learnt(self, task: str) -> Learnt:
        """What the labels of a task say of it."""
        return Learnt.of(self.target(task), self.labels[task])


def batches(count: int, size: int, random: np.random.Generator) -> Iterator[npt.NDArray[np.int64]]:
    """The rows 0 to count - 1 once each, shuffled, `size` at a time (the last batch may be smaller)."""
    order = random.permutation(count)
    for start in range(0, count, size):
        yield order[start : start + size]
