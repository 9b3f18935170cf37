"""Groups of rows that are shaken together: users, and blocks of time.

A grouping keeps, per group, what the jackknife needs when that group is left out. Two sides: 0 is the baseline, 1 the
candidate; in a paired stream both hold the same rows. Sums are of multiples of a power of two, and counts are whole, so
adding is exact and the order of rows, files and shards cannot show in the last digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Counts = NDArray[np.uint32]
T = TypeVar("T", bound=np.generic)

N, Y, P, LOSS, SQ = 0, 1, 2, 3, 4
"""Columns of the sums: rows, positives (or values), predictions, losses, squared differences between the versions."""
COLUMNS = 5
BLOCK_WIDTHS_MS = (600_000, 3_600_000, 21_600_000, 86_400_000)
"""Each a multiple of the one before it."""
MAX_BLOCKS = 90
"""A finer grouping ends after so many blocks; the days go on."""
_STEP = 2.0**26


def exactly(values: Floats, step: float = _STEP) -> Floats:
    """Rounded to multiples of 1/step (2**-26 = 1.5e-8): sums are exact in float64 to 1e8 rows of size 1."""
    return np.asarray(np.rint(values * step) / step)


def tally(table: Counts, flat: Ints) -> None:
    """Count places (of the flattened, contiguous table) in it."""
    if len(flat) * 4 > table.size:
        table += np.bincount(flat, minlength=table.size).astype(np.uint32).reshape(table.shape)
    else:
        np.add.at(table.reshape(-1), flat, np.uint32(1))


def concordant(hist: NDArray[Any]) -> Floats:
    """Pairs in which the positive has the higher score, ties half: shape (..., 2, 2, G, K) -> (..., 2, G)."""
    negatives, positives = hist[..., 0, :, :], hist[..., 1, :, :]
    below = negatives.cumsum(axis=-1, dtype=np.float64)
    ties = np.einsum("...k,...k->...", negatives, positives, dtype=np.float64)  # whole numbers: sums are exact
    return np.asarray(np.einsum("...k,...k->...", below, positives) - ties / 2)


@dataclass(slots=True)
class Users:
    """Groups of users (entity hash mod G), kept apart by the segment of event time that a row is in.

    `sums`: shape (S, 2, C, G), segment x side x column; `hist`: counts, shape (S, 2, 2, G, K), segment x side x label;
    K may be 0. Only segments up to the newest one that was met are there."""

    sums: Floats
    hist: Counts

    @classmethod
    def empty(cls, groups: int, columns: int, bins: int, segments: int = 1) -> Users:
        hist = np.zeros((segments, 2, 2, groups, bins), np.uint32)
        return cls(np.zeros((segments, 2, columns, groups)), hist)

    @property
    def groups(self) -> int:
        return int(self.sums.shape[3])

    def hold(self, segments: int) -> None:
        """Make room for so many segments."""
        if segments > len(self.sums):
            self.sums, self.hist = longer(self.sums, segments), longer(self.hist, segments)

    def add_sums(self, segment: int, user: Ints, side: Ints, columns: Floats) -> None:
        """`user`: group of each row, `side`: shape (n,); `columns`: shape (C, n)."""
        groups, flat = self.groups, side * self.groups + user
        for at in range(self.sums.shape[2]):
            found = np.bincount(flat, columns[at], minlength=2 * groups)
            self.sums[segment, :, at] += found.reshape(2, groups)

    def add_scores(self, segment: int, user: Ints, side_label: Ints, bins: Ints) -> None:
        """`side_label`: 2 side + label; `bins`: of this table; shape (n,)."""
        tally(self.hist[segment], (side_label * self.groups + user) * self.hist.shape[4] + bins)

    def absorb(self, other: Users) -> None:
        self.hold(len(other.sums))
        self.sums[: len(other.sums)] += other.sums
        self.hist[: len(other.hist)] += other.hist


@dataclass(slots=True)
class Blocks:
    """Blocks of time of one width (ms). `keys`: event time // width, rising, shape (B,).

    `sums`: shape (2, C, B), side x column; `hist`: shape (2, 2, B, K), side x label; `own`: shape (2, B), concordant
    pairs (ties half) within a block; `dropped`: there were more than MAX_BLOCKS."""

    width_ms: int
    keys: Ints
    sums: Floats
    hist: Counts
    own: Floats
    dropped: bool = False

    @classmethod
    def empty(cls, width_ms: int, columns: int, bins: int) -> Blocks:
        hist = np.zeros((2, 2, 0, bins), np.uint32)
        return cls(width_ms, np.zeros(0, np.int64), np.zeros((2, columns, 0)), hist, np.zeros((2, 0)))

    def add_sums(self, fine: Ints, sums: Floats) -> None:
        """`fine`: keys of the finest width, rising, shape (b,); `sums`: theirs, shape (2, C, b)."""
        if not self.dropped and len(fine):
            for place, at in enumerate(self._places(fine)):
                self.sums[:, :, at] += sums[:, :, place]

    def add_scores(self, fine: Ints, hist: NDArray[np.int64]) -> None:
        """`hist`: counts of the finest blocks, shape (2, 2, b, K)."""
        if self.dropped or not len(fine):
            return
        places = self._places(fine)
        for place, at in enumerate(places):
            self.hist[:, :, at] += hist[:, :, place].astype(np.uint32)
        if hist.shape[3]:
            touched = np.unique(places)
            self.own[:, touched] = concordant(self.hist[:, :, touched])

    def close(self) -> None:
        """To be called at each tick: a fine grouping that is full gives its memory back."""
        if self.width_ms != BLOCK_WIDTHS_MS[-1] and len(self.keys) > MAX_BLOCKS:
            fresh = Blocks.empty(self.width_ms, self.sums.shape[1], self.hist.shape[3])
            self.keys, self.sums, self.hist, self.own = fresh.keys, fresh.sums, fresh.hist, fresh.own
            self.dropped = True

    def absorb(self, other: Blocks) -> None:
        if self.dropped or other.dropped:
            fresh = Blocks.empty(self.width_ms, self.sums.shape[1], self.hist.shape[3])
            self.keys, self.sums, self.hist, self.own = fresh.keys, fresh.sums, fresh.hist, fresh.own
            self.dropped = True
            return
        if not len(other.keys):
            return
        self._hold(np.union1d(self.keys, other.keys))
        at = np.searchsorted(self.keys, other.keys)
        self.sums[:, :, at] += other.sums
        self.hist[:, :, at] += other.hist
        if self.hist.shape[3]:
            self.own[:, at] = concordant(self.hist[:, :, at])

    def _places(self, fine: Ints) -> Ints:
        """The place in `keys` of each of the finest blocks; new ones are made room for."""
        keys = fine // (self.width_ms // BLOCK_WIDTHS_MS[0])
        found = np.searchsorted(self.keys, keys)
        if len(self.keys) and (self.keys[np.minimum(found, len(self.keys) - 1)] == keys).all():
            return found
        self._hold(np.union1d(self.keys, keys))
        return np.searchsorted(self.keys, keys)

    def _hold(self, keys: Ints) -> None:
        """Make room for `keys`: rising, and all that are there already among them."""
        at, count = np.searchsorted(keys, self.keys), len(keys)
        if count == len(self.keys):
            return
        sums, hist, own = self.sums, self.hist, self.own
        self.keys = keys
        self.sums = np.zeros((2, sums.shape[1], count))
        self.hist = np.zeros((2, 2, count, hist.shape[3]), np.uint32)
        self.own = np.zeros((2, count))
        self.sums[:, :, at], self.hist[:, :, at], self.own[:, at] = sums, hist, own


def longer(table: NDArray[T], length: int) -> NDArray[T]:
    """The table with zeros behind, along its first axis."""
    grown = np.zeros((length, *table.shape[1:]), table.dtype)
    grown[: len(table)] = table
    return grown
