"""How much memory a rollout's accumulators take when all their blocks of time are there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from monitors.accumulators import USERS_OVERALL, USERS_SLICE
from monitors.bins import BINS_GROUP, BINS_OVERALL, BINS_SLICE
from monitors.groupings import BLOCK_WIDTHS_MS, MAX_BLOCKS
from monitors.shares import RATES, Share

__all__ = ["LIMIT_BYTES", "Room", "cell_bytes", "room_of"]

LIMIT_BYTES = 512 << 20
RESTARTS, RESTART_BINS = 12, 64
_COUNTS, _SUMS = 4, 8
"""Counts by side and label; sums by side and column."""
_FLOAT, _UINT = 8, 4


def cell_bytes(*, overall: bool, bins: bool) -> int:
    """One cell at its largest. `bins`: whether it keeps histograms (those of an AUC)."""
    users, width, pooled = (
        (USERS_OVERALL, BINS_OVERALL, BINS_OVERALL) if overall else (USERS_SLICE, BINS_GROUP, BINS_SLICE)
    )
    blocks = MAX_BLOCKS * len(BLOCK_WIDTHS_MS)
    size = (users + blocks) * (_SUMS + 2 + 1) * _FLOAT
    if bins:
        size += _COUNTS * (pooled + users * width + blocks * BINS_GROUP) * _FLOAT
        size += RESTARTS * _COUNTS * users * RESTART_BINS * _UINT
    return size


@dataclass(frozen=True, slots=True)
class Room:
    """`whole`: bytes if everybody kept bins; `kept`: without those of `losers`, optional cells that lose them."""

    whole: int
    kept: int
    losers: tuple[str, ...]


def room_of(shares: Iterable[Share]) -> Room:
    """Cells of one stream, task and slice share their accumulators. Bins go first where the weight is least."""
    places: dict[tuple[str, str, str], list[Share]] = {}
    for share in shares:
        if share.spec.metric not in RATES:
            places.setdefault((share.stream, share.spec.task, share.spec.slice), []).append(share)
    sizes = {place: cell_bytes(overall=place[2] == "overall", bins=True) for place in places}
    whole = kept = sum(sizes.values())
    optional = [place for place, mine in places.items() if all(share.role != "required" for share in mine)]
    losers: list[str] = []
    for place in sorted(optional, key=lambda place: (sum(share.weight for share in places[place]), place)):
        if kept <= LIMIT_BYTES:
            break
        kept -= sizes[place] - cell_bytes(overall=place[2] == "overall", bins=False)
        losers.append(f"{place[1]} / {place[2]} ({place[0]})")
    return Room(whole, kept, tuple(losers))
