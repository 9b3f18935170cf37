"""Restarts: a regression that begins late is nearly invisible in evidence that counts from the beginning.

Half of a cell's e-value is from the start, half is spread over up to 12 restarts: e-values of what came since. They
begin at fixed midnights (UTC), boundaries of every block of time, so a row belongs to one segment between two of them,
and what came since a restart is a sum of segments. Each is an e-value of its own, so their mean is one too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serinus.evidence import WorkItem

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DAY_MS = 86_400_000
MAX_RESTARTS = 12


def boundaries_of(item: WorkItem) -> tuple[int, ...]:
    """Event times (Unix ms) of the restarts, rising: about even on a log scale until the plan's longest duration, since
    what a late regression is diluted with may grow with the time it took to come, and at least a day apart."""
    days = item.sla.rollout.max_duration_s * 1000 // DAY_MS
    first = -(-item.started_event_ms // DAY_MS)
    offsets: list[int] = []
    for wanted in np.geomspace(1, max(days - 1, 1), MAX_RESTARTS):
        after = max(round(float(wanted)), offsets[-1] + 1 if offsets else 1)
        if after < days:
            offsets.append(after)
    return tuple((first + offset) * DAY_MS for offset in offsets)


def segments_of(event_ms: Ints, boundaries: tuple[int, ...]) -> Ints:
    """How many restarts lie at or before each row, shape (n,)."""
    return np.searchsorted(np.asarray(boundaries, np.int64), event_ms, side="right").astype(np.int64)


def combined(e: Floats, restarts: int) -> float:
    """The e-value of a cell. `e`: from the start and since each restart that has begun, shape (R,); a restart within
    its burn-in counts 0, one that has not begun counts 1. A start of exactly 0 is that of two models which are the
    same: it stays 0 as long as no restart says otherwise."""
    if not restarts:
        return float(e[0])
    idle = restarts - (len(e) - 1) if e[0] > 0 else 0
    return float(e[0] / 2 + (e[1:].sum() + idle) / (2 * restarts))
