"""All that is kept of one cell (stream x task x slice): pooled histograms and sums, and the same by group.

Merging is having seen both; the empty cell is the identity. State is a flat dict of arrays, for an npz file.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from monitors.bins import BINS_GROUP, BINS_OVERALL, BINS_SLICE, coarser
from monitors.groupings import BLOCK_WIDTHS_MS, USERS, Grouping, exactly
from monitors.rows import Scored

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
State = dict[str, NDArray[np.generic]]

USERS_OVERALL, USERS_SLICE = 64, 32
_LEAST_P = 1e-7


def columns_of(rows: Scored) -> Floats:
    """Rows, positives, probabilities and log-losses (nats, p kept 1e-7 from 0 and 1), shape (n, 4)."""
    p = np.clip(rows.p, _LEAST_P, 1 - _LEAST_P)
    loss = -np.where(rows.y > 0, np.log(p), np.log1p(-p))
    return np.stack([np.ones(len(rows)), rows.y, exactly(rows.p), exactly(loss)], axis=1)


@dataclass(slots=True)
class Cell:
    """`pooled`: counts, shape (2, 2, K), side x label x bin, of the rows whose scores had frozen bins;
    `sums`: shape (2, 4), side x (rows, positives, probabilities, losses); `groupings`: users, then blocks of time."""

    overall: bool
    pooled: Floats
    sums: Floats
    groupings: list[Grouping]
    changed: bool = field(default=True, compare=False)

    @classmethod
    def empty(cls, *, overall: bool) -> Cell:
        bins, users = (BINS_OVERALL, USERS_OVERALL) if overall else (BINS_SLICE, USERS_SLICE)
        by_user = Grouping.empty(USERS, BINS_OVERALL if overall else BINS_GROUP, users)
        by_time = [Grouping.empty(width, BINS_GROUP) for width in BLOCK_WIDTHS_MS]
        return cls(overall, np.zeros((2, 2, bins)), np.zeros((2, 4)), [by_user, *by_time])

    def add_sums(self, rows: Scored, side: Ints, columns: Floats) -> None:
        """Count rows in everything that needs no bins. `side`: 0 baseline, 1 candidate, shape (n,); `columns`: of
        `columns_of(rows)`, shape (n, 4)."""
        if len(rows):
            np.add.at(self.sums, side, columns)
            for grouping in self.groupings:
                grouping.add_sums(rows, side, columns)
            self.changed = True

    def add_scores(self, rows: Scored, side: Ints, bins: Ints) -> None:
        """Count the same rows in the histograms, once; `bins`: of BINS_OVERALL, shape (n,)."""
        if len(rows):
            np.add.at(self.pooled, (side, rows.y.astype(np.int64), coarser(bins, self.pooled.shape[2])), 1.0)
            for grouping in self.groupings:
                grouping.add_scores(rows, side, bins)
            self.changed = True

    def close(self) -> None:
        """The end of a tick."""
        for grouping in self.groupings:
            grouping.close()

    def merge(self, other: Cell) -> Cell:
        """As if one cell had seen what both saw."""
        groupings = [mine.merge(theirs) for mine, theirs in zip(self.groupings, other.groupings, strict=True)]
        merged = Cell(self.overall, self.pooled + other.pooled, self.sums + other.sums, groupings)
        merged.close()
        return merged

    def state(self) -> State:
        arrays: State = {"overall": np.array(self.overall), "pooled": self.pooled, "sums": self.sums}
        for at, grouping in enumerate(self.groupings):
            for name in ("keys", "sums", "hist", "own"):
                arrays[f"{at}/{name}"] = getattr(grouping, name)
            arrays[f"{at}/dropped"] = np.array(grouping.dropped)
        return arrays

    @classmethod
    def of_state(cls, state: State) -> Cell:
        cell = cls.empty(overall=bool(state["overall"]))
        cell.pooled, cell.sums = state["pooled"].astype(np.float64), state["sums"].astype(np.float64)
        for at, grouping in enumerate(cell.groupings):
            grouping.keys = state[f"{at}/keys"].astype(np.int64)
            for name in ("sums", "hist", "own"):
                setattr(grouping, name, state[f"{at}/{name}"].astype(np.float64))
            grouping.dropped = bool(state[f"{at}/dropped"])
        return cell
