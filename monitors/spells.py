"""For how long the values of an input have not moved, from a small sample of its distinct values by the hour.

Of each hour the distinct values with the smallest hashes are kept, with their rows: a value that is among the smallest
of all is among the smallest of every part, so counts stay exact when parts are added (bottom-k sketch; Cohen and Kaplan
2007). What is asked of the sample is a share of rows, and the values are drawn by nothing but their hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["KEPT", "Distinct", "unmoved_hours"]

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]

KEPT = 64
_NO_HASHES, _NO_COUNTS = np.zeros(0, np.uint64), np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Distinct:
    """`hashes`: rising, at most KEPT, shape (d,); `counts`: rows that have each, (d,)."""

    hashes: Hashes
    counts: Ints

    @classmethod
    def of(cls, hashes: Hashes) -> Distinct:
        """Of one hash a row."""
        kept, counts = np.unique(hashes, return_counts=True)
        return cls(kept[:KEPT], counts[:KEPT].astype(np.int64))

    def merge(self, other: Distinct) -> Distinct:
        """As if one had seen both."""
        kept, number = np.unique(np.concatenate([self.hashes, other.hashes]), return_inverse=True)
        counts = np.zeros(len(kept), np.int64)
        np.add.at(counts, number, np.concatenate([self.counts, other.counts]))
        return Distinct(kept[:KEPT], counts[:KEPT])

    @property
    def complete_to(self) -> int:
        """Hashes up to this one are all there."""
        return int(self.hashes[-1]) if len(self.hashes) >= KEPT else 2**64 - 1


def unmoved_hours(hours: Sequence[int], seen: Sequence[Distinct]) -> tuple[int, float]:
    """(For how many hours more than half of the newest rows have had values that were there in every hour, the share).

    `hours`: rising, the last is the newest; `seen`: of each. An hour without a row is no change."""
    newest = seen[-1]
    same, limit, found = newest.hashes, 2**64 - 1, (0, 1.0)
    for hour, before in zip(reversed(hours), reversed(seen), strict=True):
        limit = min(limit, before.complete_to)
        same = np.intersect1d(same, before.hashes, assume_unique=True)
        sampled = newest.hashes <= np.uint64(limit)
        total = int(newest.counts[sampled].sum())
        kept = int(newest.counts[sampled & np.isin(newest.hashes, same)].sum())
        if not total or 2 * kept <= total:
            break
        found = (hours[-1] - hour, kept / total)
    return found


def empty() -> Distinct:
    """Of no row."""
    return Distinct(_NO_HASHES, _NO_COUNTS)
