"""Pictures for a rollout's page, as numbers for a template that draws SVG. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from controller.console.looks import Guard, Point
from controller.console.scales import Scale, day_of, nice
from serinus.series import Series

__all__ = ["GuardChart", "SumChart", "guard_chart", "sum_chart"]

WIDTH, HEIGHT = 320, 132
LEFT, RIGHT, TOP, BOTTOM = 8.0, 312.0, 10.0, 112.0
REACH = 4.0
"""An interval wider than so many margins is cut at the edge: what matters is on which side of the margin it ends."""
LARGEST = 1e12
"""A loss beyond that is no number to draw by."""
LEAST_EXPONENT, MOST_EXPONENT = -2.0, 6.0


@dataclass(frozen=True, slots=True)
class GuardChart:
    """`bands`: paths of the interval; `lines`: of the estimate, broken where there is none. `dot`: the newest look.

    `margin_y`, `zero_y`: heights of both lines. Bad is above the margin. `bounds`: interval at the end, (x, y, y)."""

    bands: tuple[str, ...]
    lines: tuple[str, ...]
    margin_y: float
    zero_y: float
    dot: tuple[float, float] | None
    bounds: tuple[float, float, float] | None
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class SumChart:
    """The e-value over time, in powers of ten, against the limit at which a rollout goes back."""

    line: str
    limit_y: float
    one_y: float
    dot: tuple[float, float] | None
    first: str
    last: str


def guard_chart(guard: Guard) -> GuardChart | None:
    """None where no look has a number."""
    points = [point for point in guard.points if point.estimate is not None or point.low is not None]
    if not points:
        return None
    x, y = _time(guard.points), _losses(points, guard.cell.margin)
    runs = _runs(guard.points)
    last = points[-1]
    return GuardChart(
        bands=tuple(_band(run, x, y) for run in runs if any(p.low is not None and p.high is not None for p in run)),
        lines=tuple(_line([(x(p.at_ms), y(p.estimate)) for p in run if p.estimate is not None]) for run in runs),
        margin_y=y(guard.cell.margin),
        zero_y=y(0.0),
        dot=None if last.estimate is None else (x(last.at_ms), y(last.estimate)),
        bounds=None if last.low is None or last.high is None else (x(last.at_ms), y(last.low), y(last.high)),
        first=day_of(guard.points[0].at_ms, clock=_short(guard.points)),
        last=day_of(guard.points[-1].at_ms, clock=_short(guard.points)),
    )


def sum_chart(series: Series) -> SumChart | None:
    """None without a look."""
    if not series.tick_ms:
        return None
    exponents = [_exponent(e) for e in series.e]
    limit = _exponent(series.limit[-1])
    low, high = nice([*exponents, limit, 0.0], spare=0.08)
    times = [Point(tick, None, None, None) for tick in series.tick_ms]
    x, y = _time(times), Scale(low, high, BOTTOM, TOP)
    places = [(x(tick), y(exponent)) for tick, exponent in zip(series.tick_ms, exponents, strict=True)]
    short = _short(times)
    return SumChart(
        _line(places),
        y(limit),
        y(0.0),
        places[-1],
        day_of(series.tick_ms[0], clock=short),
        day_of(series.tick_ms[-1], clock=short),
    )


def _exponent(value: float) -> float:
    if not value > 0:
        return LEAST_EXPONENT
    return MOST_EXPONENT if math.isinf(value) else min(max(math.log10(value), LEAST_EXPONENT), MOST_EXPONENT)


def _short(points: Sequence[Point]) -> bool:
    """Within two days the time of day is told."""
    return points[-1].at_ms - points[0].at_ms < 2 * 86_400_000


def _time(points: Sequence[Point]) -> Scale:
    """A single look stands at the right end."""
    first, last = points[0].at_ms, points[-1].at_ms
    return Scale(first, last, LEFT, RIGHT) if last > first else Scale(first - 1, last, LEFT, RIGHT)


def _losses(points: Sequence[Point], margin: float) -> Scale:
    """Heights of losses: zero, the margin and the newest interval are in sight, what is far away is cut."""
    known = [abs(p.estimate) for p in points if p.estimate is not None and abs(p.estimate) < LARGEST]
    size = margin or max(known, default=0.0) or 1.0
    last = points[-1]
    ends = [value for value in (last.low, last.high, last.estimate) if value is not None and math.isfinite(value)]
    reach = REACH * size
    estimates = [min(max(p.estimate, -reach), reach) for p in points if p.estimate is not None]
    low, high = nice([0.0, margin, -margin, *(min(max(end, -2 * reach), 2 * reach) for end in ends), *estimates])
    return Scale(low, high, BOTTOM, TOP)


def _runs(points: Sequence[Point]) -> list[list[Point]]:
    """Points that follow each other without a look that has no numbers."""
    runs: list[list[Point]] = [[]]
    for point in points:
        if point.estimate is None and point.low is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return [run for run in runs if run]


def _band(run: Sequence[Point], x: Scale, y: Scale) -> str:
    sure = [(x(p.at_ms), y(p.low), y(p.high)) for p in run if p.low is not None and p.high is not None]
    there = [f"{at:g},{high:g}" for at, _, high in sure]
    back = [f"{at:g},{low:g}" for at, low, _ in reversed(sure)]
    return f"M{' '.join([*there, *back])}Z"


def _line(places: Sequence[tuple[float, float]]) -> str:
    return f"M{' '.join(f'{x:g},{y:g}' for x, y in places)}" if places else ""
