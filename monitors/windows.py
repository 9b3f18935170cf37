"""A cell as its metrics see it: from the start, and since each restart that has begun.

R: windows, the first from the start. Everything of a window is a sum of segments (users) or of blocks (time).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitors.accumulators import Cell
from monitors.groupings import Blocks, N, concordant

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Groups:
    """`sums`: shape (R or 1, 2, C, G); `held`: groups with any row in the window, shape (R, G); `hist`: shape
    (R or 1, 2, 2, G, K); `own`: concordant pairs within a group, shape (R or 1, 2, G)."""

    sums: Floats
    held: Mask
    hist: Floats
    own: Floats

    def with_events(self, column: int) -> Floats:
        """Groups that hold an event (a column that is not 0), in the side that has fewer of them, shape (R,)."""
        found = (self.sums[:, :, column] > 0) & self.held[:, None]
        return np.asarray(found.sum(axis=-1).min(axis=1).astype(np.float64))


@dataclass(frozen=True, slots=True)
class Windows:
    """`totals`: shape (R, 2, C); `pooled`: shape (R, 2, 2, K); `curve`: of all, shape (2, K)."""

    totals: Floats
    pooled: Floats
    curve: Floats
    users: Groups
    times: list[Groups]

    @classmethod
    def of(cls, cell: Cell) -> Windows:
        users = cell.users
        sums, hist = _since(users.sums), _since(users.hist)
        own = concordant(hist) if hist.shape[4] else np.zeros(hist.shape[:2])
        by_user = Groups(sums, sums[:, :, N].max(axis=1) > 0, hist, own)
        starts = np.array([0, *cell.layout.boundaries[: len(sums) - 1]])
        times = [_blocks(blocks, starts) for blocks in cell.times if not blocks.dropped and len(blocks.keys)]
        return cls(sums.sum(axis=3), _since(cell.pooled), cell.curve, by_user, times)

    def events(self, *, labelled: bool) -> Floats:
        """Per window the positives and negatives (`labelled`), else the rows, of the side that has fewest: (R,)."""
        rows = self.totals[:, :, N]
        if not labelled:
            return np.asarray(rows.min(axis=1))
        positives = self.totals[:, :, 1]
        return np.asarray(np.minimum(positives, rows - positives).min(axis=1))


def _since(segments: NDArray[np.generic]) -> Floats:
    """Sums over a segment and all later ones."""
    since = segments.astype(np.float64)
    for at in range(len(since) - 2, -1, -1):  # many times faster than a cumsum along the first axis
        since[at] += since[at + 1]
    return since


def _blocks(blocks: Blocks, starts: NDArray[np.int64]) -> Groups:
    inside = blocks.keys * blocks.width_ms >= starts[:, None]
    inside[0] = True
    held = inside & (blocks.sums[:, N].max(axis=0) > 0)
    return Groups(blocks.sums[None], held, blocks.hist.astype(np.float64)[None], blocks.own[None])
