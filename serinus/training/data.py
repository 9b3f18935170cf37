"""Rows to learn from: raw inputs as the client sends them, and a label per task where there is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Dataset", "batches"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """`raw`: input -> [n], missing: NaN or the empty text. `labels`: task -> float [n], 0 or 1, NaN: no label.

    Raises ValueError for columns of different lengths and labels that are neither 0, 1 nor NaN."""

    raw: Mapping[str, npt.NDArray[Any]]
    labels: Mapping[str, npt.NDArray[np.floating[Any]]]

    def __post_init__(self) -> None:
        sizes = {name: len(column) for name, column in (*self.raw.items(), *self.labels.items())}
        if not self.raw or len(set(sizes.values())) != 1:
            raise ValueError(f"every column needs the same number of rows: {sizes}")
        for task, column in self.labels.items():
            known = column[~np.isnan(column)]
            if not np.isin(known, (0, 1)).all():
                raise ValueError(f"the labels of {task!r} must be 0, 1 or NaN (no label)")

    def __len__(self) -> int:
        return len(next(iter(self.raw.values())))

    def take(self, rows: npt.NDArray[np.int64] | slice) -> Dataset:
        """These rows, in this order."""
        return Dataset(
            {name: column[rows] for name, column in self.raw.items()},
            {task: column[rows] for task, column in self.labels.items()},
        )

    def split(self, share: float, random: np.random.Generator | None = None) -> tuple[Dataset, Dataset]:
        """The first `share` of the rows and the rest: in their order (by time, say), or drawn by `random`."""
        if not 0 < share < 1:
            raise ValueError(f"share is {share}, not between 0 and 1")
        rows = np.arange(len(self)) if random is None else random.permutation(len(self))
        cut = round(share * len(self))
        return self.take(rows[:cut]), self.take(rows[cut:])

    def base_rate(self, task: str) -> float:
        """Share of ones among the labels of a task; 0.5 when it has none."""
        known = self.labels[task][~np.isnan(self.labels[task])]
        return float(known.mean()) if len(known) else 0.5


def batches(count: int, size: int, random: np.random.Generator) -> Iterator[npt.NDArray[np.int64]]:
    """The rows 0 to count - 1 once each, shuffled, `size` at a time (the last batch may be smaller)."""
    order = random.permutation(count)
    for start in range(0, count, size):
        yield order[start : start + size]
