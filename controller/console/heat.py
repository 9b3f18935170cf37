"""A look as a heat map, tasks by slices, and each guard's interval against its margin. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from controller.console.looks import Guard
from controller.console.scales import Scale
from serinus.evidence import CellEvidence

__all__ = ["Bar", "Heat", "Interval", "Square", "heat_of", "intervals_of"]

MOST_TASKS, MOST_SLICES, MOST_INTERVALS = 40, 40, 60
REACH = 3.0
"""Margins to either side of zero that a picture of an interval shows; what lies beyond is at its edge."""
PLACE = Scale(-REACH, REACH, 4.0, 156.0)
OVERALL = "overall"


@dataclass(frozen=True, slots=True)
class Square:
    """A task in a slice: the guard that presses most. `ratio`: its estimate in margins; 1 and more is too bad."""

    cell: CellEvidence
    ratio: float | None
    guards: int


@dataclass(frozen=True, slots=True)
class Heat:
    """`rows`: task, and its square at each of `slices`; None where nothing is guarded. `left_out`: tasks and slices."""

    slices: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Square | None, ...]], ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class Bar:
    """A guard in one stream, in pixels of a picture 160 wide. `low`, `high`: None where there is no interval."""

    cell: CellEvidence
    low: float | None
    dot: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Interval:
    """A guard with what shadow and canary say of it."""

    cell: CellEvidence
    shadow: Bar | None
    canary: Bar | None


def heat_of(guards: Sequence[Guard]) -> Heat:
    """`guards`: the most pressing first, as `looks.guards_of` gives them. Those that only are displayed count where a
    task has no other in a slice."""
    found: dict[tuple[str, str], list[CellEvidence]] = {}
    for guard in guards:
        found.setdefault((guard.cell.task, guard.cell.slice), []).append(guard.cell)
    tasks = sorted({task for task, _ in found})
    slices = sorted({place for _, place in found}, key=lambda place: (place != OVERALL, place))
    shown = slices[:MOST_SLICES]
    rows = tuple((task, tuple(_square(found.get((task, at), [])) for at in shown)) for task in tasks[:MOST_TASKS])
    return Heat(tuple(shown), rows, max(0, len(tasks) - MOST_TASKS) + len(slices) - len(shown))


def intervals_of(guards: Sequence[Guard]) -> list[Interval]:
    """Of the guards that a margin can be drawn for, the most pressing first."""
    found: dict[str, dict[str, CellEvidence]] = {}
    for guard in guards:
        if guard.cell.margin > 0:
            found.setdefault(guard.cell.name, {}).setdefault(guard.cell.stream, guard.cell)
    first = list(found.values())[:MOST_INTERVALS]
    return [
        Interval(next(iter(of.values())), _bar(of.get("shadow") or of.get("replay")), _bar(of.get("canary")))
        for of in first
    ]


def _square(cells: Iterable[CellEvidence]) -> Square | None:
    known = list(cells)
    if not known:
        return None
    return Square(known[0], _ratio(known[0].estimate, known[0].margin), len(known))


def _bar(cell: CellEvidence | None) -> Bar | None:
    if cell is None:
        return None
    low, dot, high = (_ratio(each, cell.margin) for each in (cell.low, cell.estimate, cell.high))
    return Bar(cell, *(None if each is None else PLACE(each) for each in (low, dot, high)))


def _ratio(value: float | None, margin: float) -> float | None:
    """None where there is no number, or no margin to measure by."""
    if value is None or math.isnan(value) or margin <= 0:
        return None
    return value / margin
