"""How much memory a rollout's accumulators may take, and which cells get by with fewer bins for it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from monitors.bins import BINS_GROUP
from monitors.layouts import layouts, size_of
from serinus.evidence import WorkItem

__all__ = ["LIMIT_BYTES", "Room", "room_of"]

LIMIT_BYTES = 512 << 20
"""Of a rollout, its tables (`layouts.BUDGET`) and what is held while rows come in."""


@dataclass(frozen=True, slots=True)
class Room:
    """`whole`: bytes of the tables if every cell kept all bins; `kept`: as they will be, within `layouts.BUDGET`;
    `coarser`: cells whose groups have fewer bins, so that their variance is a little coarser."""

    whole: int
    kept: int
    coarser: tuple[str, ...]


def room_of(item: WorkItem) -> Room:
    found = layouts(item)
    fewer = {place for place, layout in found.items() if 0 < layout.bins < BINS_GROUP}
    whole = {place: replace(layout, bins=BINS_GROUP) if place in fewer else layout for place, layout in found.items()}
    names = {f"{place[1]} / {place[2]} ({place[0]}, {found[place].bins} bins)" for place in fewer}
    return Room(size_of(whole), size_of(found), tuple(sorted(names)))
