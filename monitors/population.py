"""Which requests of the past a preflight can look at, and how far they are from today's.

Population stability index (PSI): sum over bins of (p - q) ln(p / q); bins at the deciles of the past, or its commonest
values. What is compared are the requests with the smallest hashes of their ids: an even sample, whatever the order.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitors.columns import SHADOW, Words
from monitors.predictions import Predictions
from monitors.raw_inputs import batches, signed, uniform, uniform_of
from serinus.preflights import Difference
from serinus.records import InputRow

__all__ = ["MOST_REQUESTS", "Population", "differences", "psi"]

MOST_REQUESTS = 5_000
LEAST_ROWS = 200
"""Fewer rows differ from any others by chance: they are not compared."""
_BINS, _WORDS = 10, 20


@dataclass(slots=True)
class Population:
    """`requests`: answered; `with_inputs`: of them, with logged inputs; `rows`: of these; `names`: inputs that any had.

    `sample`: (-hash, id, inputs) of the requests with the smallest hashes; `scores`: task -> (-hash, index, score)."""

    requests: int = 0
    with_inputs: int = 0
    rows: int = 0
    names: set[str] = field(default_factory=set)
    sample: list[tuple[float, bytes, InputRow]] = field(default_factory=list)
    scores: dict[str, list[tuple[float, int, float]]] = field(default_factory=dict)

    def add(self, inputs: Sequence[InputRow], answers: Predictions, words: Words, tasks: Iterable[str]) -> None:
        """Take in requests that no earlier call had. `inputs`: each once."""
        answers = answers.take(answers.arm != SHADOW)
        ids = np.unique(np.stack([answers.high, answers.low]), axis=1)
        self.requests += ids.shape[1]
        both = {(int(high) << 64) | int(low) for high, low in ids.T} if inputs else set()
        inputs = [row for row in inputs if int.from_bytes(row.id, "big") in both]
        self.with_inputs += len(inputs)
        readable = signed(inputs)
        self.rows += sum(row.rows for row, _ in readable)
        for signature in {said for _, said in readable}:
            self.names |= {name for name, _, _ in signature}
        for (row, _), hashed in zip(readable, uniform_of([row for row, _ in readable]), strict=True):
            _keep(self.sample, (-float(hashed), row.id, row))
        hashes = uniform(answers.high, answers.low)
        for task in tasks:
            mine = np.flatnonzero((answers.task == words.known(task)) & ~answers.failed & np.isfinite(answers.value))
            mine = mine[np.lexsort((answers.value[mine], answers.index[mine], hashes[mine]))]
            again = (np.diff(hashes[mine]) == 0) & (np.diff(answers.index[mine]) == 0)
            mine = mine[np.append(True, ~again)[: len(mine)]]  # a row that came twice is one
            kept = self.scores.setdefault(task, [])
            for at in mine[:MOST_REQUESTS].tolist():
                _keep(kept, (-float(hashes[at]), int(answers.index[at]), float(answers.value[at])))


def _keep(heap: list[Any], entry: Any) -> None:
    if len(heap) < MOST_REQUESTS:
        heapq.heappush(heap, entry)
    elif entry > heap[0]:
        heapq.heapreplace(heap, entry)


def differences(then: Population, today: Population) -> tuple[Difference, ...]:
    """How far stable's scores and each raw input of `then` are from today's, where both have enough rows."""
    pairs: list[tuple[Any, str, list[Any], list[Any]]] = []
    for task in sorted(then.scores):
        old, new = ([score for _, _, score in sorted(each.scores.get(task, []))] for each in (then, today))
        pairs.append(("score", task, old, new))
    before, now = (_columns(each) for each in (then, today))
    pairs += [("input", name, before[name], now[name]) for name in sorted(before.keys() & now.keys())]
    return tuple(
        Difference(of=of, name=name, psi=psi(old, new), then=len(old), today=len(new))
        for of, name, old, new in pairs
        if min(len(old), len(new)) >= LEAST_ROWS
    )


def _columns(population: Population) -> dict[str, list[Any]]:
    """Values of each raw input that has one value a row; a row without it is not there."""
    requests = [row for _, _, row in sorted(population.sample, key=lambda each: each[:2])]
    starts = np.cumsum([0, *(row.rows for row in requests)])[:-1]
    columns: dict[str, list[Any]] = {}
    for batch in batches(signed(requests), starts.astype(np.int64), MOST_REQUESTS):
        for name, values in batch.raw.items():
            if values.ndim == 1:
                columns.setdefault(name, []).extend(values.tolist())
    return columns


def psi(then: Sequence[Any], today: Sequence[Any]) -> float:
    """Population stability index of two samples of numbers or of texts; NaN and "" are values of their own."""
    if all(isinstance(side[0], int | float) and not isinstance(side[0], bool) for side in (then, today)):
        p, q = _numbers(np.array(then, np.float64), np.array(today, np.float64))
    else:
        p, q = _values([str(value) for value in then], [str(value) for value in today])
    p, q = (each + 0.5 for each in (p, q))  # an empty bin is no infinite difference
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum((p - q) * np.log(p / q)))


def _numbers(then: NDArray[np.float64], today: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    known = then[~np.isnan(then)]
    edges = np.unique(np.quantile(known, np.arange(1, _BINS) / _BINS, method="lower")) if len(known) else np.zeros(0)
    bins = len(edges) + 2

    def counted(values: NDArray[np.float64]) -> NDArray[np.float64]:
        where = np.where(np.isnan(values), bins - 1, np.searchsorted(edges, values, side="left"))
        return np.bincount(where, minlength=bins).astype(np.float64)

    return [counted(then), counted(today)]


def _values(then: list[str], today: list[str]) -> list[NDArray[np.float64]]:
    counts = Counter(then)
    common = sorted(counts, key=lambda value: (-counts[value], value))[:_WORDS]
    place = {value: at for at, value in enumerate(common)}

    def counted(values: list[str]) -> NDArray[np.float64]:
        where = [place.get(value, len(common)) for value in values]
        return np.bincount(where, minlength=len(common) + 1).astype(np.float64)

    return [counted(then), counted(today)]
