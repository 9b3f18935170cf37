"""From values to places in a picture. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

__all__ = ["Scale", "day_of", "nice"]


@dataclass(frozen=True, slots=True)
class Scale:
    """[low, high] to [start, end] in pixels; beyond it: the edge. NaN is at the low end."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        if math.isnan(value):
            value = self.low
        inside = min(max(value, self.low), self.high)
        width = (self.high - self.low) or 1.0
        return round(self.start + (inside - self.low) / width * (self.end - self.start), 1)


def nice(values: Iterable[float], *, spare: float = 0.12) -> tuple[float, float]:
    """The least and the greatest, with some space around."""
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(known), max(known)
    room = (high - low or abs(high) or 1.0) * spare
    return low - room, high + room


def day_of(ms: int, *, clock: bool = False) -> str:
    """Event time for an axis: "3 May", or with the time of day."""
    try:
        at = datetime.fromtimestamp(ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return "?"
    return f"{at.day} {at:%b %H:%M}" if clock else f"{at.day} {at:%b}"
