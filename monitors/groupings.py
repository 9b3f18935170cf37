"""Groups of rows that are shaken together: users, and blocks of time.

One grouping keeps, per group, what the jackknife needs when that group is left out. Two sides: 0 is the baseline, 1 the
candidate; in a paired stream both hold the same rows. Sums are of multiples of 2**-26, and counts are whole, so adding
is exact in float64 (to 1e8 rows) and the order of rows, files and shards cannot show in the last digit.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from monitors.bins import coarser
from monitors.rows import Scored

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

N, Y, P, LOSS = 0, 1, 2, 3
"""Columns of the sums: rows, positives, probabilities, log-losses."""
USERS = 0
BLOCK_WIDTHS_MS = (600_000, 3_600_000, 21_600_000, 86_400_000)
MAX_BLOCKS = 90
"""A finer grouping ends after so many blocks; the days go on."""
_STEP = 2.0**26
_COLUMNS = np.arange(4)[None]


def exactly(values: Floats) -> Floats:
    """Rounded to multiples of 2**-26 (1.5e-8), whose sums are exact."""
    return np.asarray(np.rint(values * _STEP) / _STEP)


@dataclass(slots=True)
class Grouping:
    """`width_ms`: of a block of time; USERS: `keys` are entity hash mod their number, all there from the start.

    `keys`: rising, shape (G,); `sums`: shape (2, 4, G), side x column; `hist`: shape (2, 2, G, K), side x label;
    `own`: shape (2, G), concordant pairs (ties half) within a group; `dropped`: it had more than MAX_BLOCKS."""

    width_ms: int
    bins: int
    keys: Ints
    sums: Floats
    hist: Floats
    own: Floats
    dropped: bool = False
    _positive: int | None = field(default=None, compare=False)

    @classmethod
    def empty(cls, width_ms: int, bins: int, users: int = 0) -> Grouping:
        keys = np.arange(users, dtype=np.int64)
        shape = (2, 2, users, bins)
        return cls(width_ms, bins, keys, np.zeros((2, 4, users)), np.zeros(shape), np.zeros((2, users)))

    def places(self, rows: Scored) -> Ints:
        """The place in `keys` of each row's group; new blocks of time are made room for."""
        if self.width_ms == USERS:
            return (rows.entity % np.uint64(len(self.keys))).astype(np.int64)
        blocks = rows.event_ms // self.width_ms
        found = np.searchsorted(self.keys, blocks)
        if len(self.keys) and (self.keys[np.minimum(found, len(self.keys) - 1)] == blocks).all():
            return found
        self._hold(np.union1d(self.keys, blocks))
        return np.searchsorted(self.keys, blocks)

    def add_sums(self, rows: Scored, side: Ints, columns: Floats) -> None:
        """`side`: shape (n,); `columns`: shape (n, 4), in the order N, Y, P, LOSS."""
        if not self.dropped:
            group = self.places(rows)[:, None]
            np.add.at(self.sums, (side[:, None], _COLUMNS, group), columns)
            self._positive = None

    def add_scores(self, rows: Scored, side: Ints, bins: Ints) -> None:
        """`side`, `bins` (of BINS_OVERALL): shape (n,)."""
        if self.dropped:
            return
        group = self.places(rows)
        np.add.at(self.hist, (side, rows.y.astype(np.int64), group, coarser(bins, self.bins)), 1.0)
        touched = np.unique(group)
        self.own[:, touched] = _concordant(self.hist[:, :, touched])

    @property
    def positive_groups(self) -> int:
        """Groups that hold a positive, in the arm that has fewer of them."""
        if self._positive is None:
            self._positive = int((self.sums[:, Y] > 0).sum(axis=1).min())
        return self._positive

    @property
    def held(self) -> NDArray[np.bool_]:
        """Which groups hold any row, shape (G,)."""
        return np.asarray(self.sums[:, N].max(axis=0) > 0)

    def close(self) -> None:
        """To be called at each tick: a fine grouping that is full gives its memory back."""
        if self.width_ms != USERS and self.width_ms != BLOCK_WIDTHS_MS[-1] and len(self.keys) > MAX_BLOCKS:
            fresh = Grouping.empty(self.width_ms, self.bins)
            self.keys, self.sums, self.hist, self.own = fresh.keys, fresh.sums, fresh.hist, fresh.own
            self.dropped = True
            self._positive = None

    def merge(self, other: Grouping) -> Grouping:
        """As if one grouping had seen both."""
        merged = Grouping.empty(self.width_ms, self.bins, len(self.keys) if self.width_ms == USERS else 0)
        merged.dropped = self.dropped or other.dropped
        if merged.dropped:
            return merged
        if self.width_ms != USERS:
            merged._hold(np.union1d(self.keys, other.keys))
        for part in (self, other):
            at = np.searchsorted(merged.keys, part.keys)
            merged.sums[:, :, at] += part.sums
            merged.hist[:, :, at] += part.hist
        merged.own = _concordant(merged.hist)
        return merged

    def _hold(self, keys: Ints) -> None:
        """Make room for `keys`: rising, and all that are there already among them."""
        at = np.searchsorted(keys, self.keys)
        sums, hist, own = self.sums, self.hist, self.own
        self.keys, count = keys, len(keys)
        self.sums = np.zeros((2, 4, count))
        self.hist = np.zeros((2, 2, count, self.bins))
        self.own = np.zeros((2, count))
        self.sums[:, :, at], self.hist[:, :, at], self.own[:, at] = sums, hist, own
        self._positive = None


def _concordant(hist: Floats) -> Floats:
    """Pairs in which the positive has the higher score, ties half: shape (2, 2, G, K) -> (2, G)."""
    negatives, positives = hist[:, 0], hist[:, 1]
    return np.asarray((positives * (negatives.cumsum(axis=2) - negatives / 2)).sum(axis=2))
