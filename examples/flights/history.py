"""What had happened by a given time, for many times at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["Past"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_SPAN = 1 << 42
"""Larger than any time in ms: (group, time) becomes one sorted number, so that one search serves all groups."""


class Past:
    """Events of groups, each counted from the time at which it became known, never before.

    group, known_ms: int64, shape [events], groups from 0; values: name -> int64, shape [events] (whole numbers: their
    cumulative sums are exact, so what comes later cannot change an earlier window by rounding)."""

    def __init__(self, group: Ints, known_ms: Ints, **values: Ints) -> None:
        key = group * _SPAN + known_ms
        order = np.argsort(key, kind="stable")
        self._key, self._group, self._known = key[order], group[order], known_ms[order]
        self._values = {name: value[order] for name, value in values.items()}
        self._sums = {name: np.concatenate([[0], np.cumsum(value)]) for name, value in self._values.items()}

    def window(self, group: Ints, at_ms: Ints, span_ms: int) -> tuple[Ints, dict[str, Ints]]:
        """Count, and sum of each value, of each group's events that became known within (at - span, at]."""
        first = np.searchsorted(self._key, group * _SPAN + at_ms - span_ms, side="right")
        after = np.searchsorted(self._key, group * _SPAN + at_ms, side="right")
        return after - first, {name: sums[after] - sums[first] for name, sums in self._sums.items()}

    def latest(self, group: Ints, at_ms: Ints, span_ms: int) -> dict[str, Floats]:
        """Each value, and `known_ms`, of the group's latest event that became known within (at - span, at], or NaN."""
        last = np.searchsorted(self._key, group * _SPAN + at_ms, side="right") - 1
        safe = np.maximum(last, 0)
        there = (last >= 0) & (self._group[safe] == group) & (self._known[safe] > at_ms - span_ms)
        found = {"known_ms": self._known, **self._values}
        return {name: np.where(there, value[safe], np.nan) for name, value in found.items()}
