"""What charts of a rollout show: numbers of its guards over event time, in columns, cheap to read."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from controller.looks import Line, line_of, lines_of
from controller.tables import EvidenceRow, LookRow, ShapeRow
from serinus.evidence import Evidence
from serinus.series import GuardSeries, Series

__all__ = ["MOST_GUARDS", "MOST_POINTS", "read_series"]

MOST_POINTS, MOST_GUARDS = 2_000, 100
Guards = tuple[tuple[str, str, str, float], ...]
"""(stream, name, role, margin) of each."""


def read_series(
    session: Session,
    rollout: str,
    *,
    guards: Collection[str] = (),
    stream: str = "live",
    after_ms: int = -1,
    points: int,
) -> Series:
    """The looks of a stream after a tick, at most `points` of them, evenly, with the first and the last.

    `guards`: names of those whose columns are wanted; the list of names has all."""
    mine = (LookRow.rollout == rollout, LookRow.stream == stream, LookRow.tick_ms > after_ms)
    many = session.scalar(select(func.count()).where(*mine)) or 0
    if not many:
        return _of_old_rows(session, rollout, guards, stream=stream, after_ms=after_ms, points=points)
    ticks: Sequence[int] | None = None
    if many > points or after_ms >= 0:
        ticks = evenly(session.scalars(select(LookRow.tick_ms).where(*mine).order_by(LookRow.tick_ms)).all(), points)
    lines = lines_of(session, rollout, stream, ticks)
    shapes = {row.number: row.guards for row in session.scalars(select(ShapeRow).where(ShapeRow.rollout == rollout))}
    return _columns(rollout, many, lines, shapes, guards)


def evenly(ticks: Sequence[int], most: int) -> Sequence[int]:
    """At most so many of them, evenly, with the first and the last."""
    if len(ticks) <= most or most < 2:
        return ticks[-most:] if most else ()
    step = (len(ticks) - 1) / (most - 1)
    return [ticks[round(at * step)] for at in range(most)]


def _of_old_rows(
    session: Session, rollout: str, guards: Collection[str], *, stream: str, after_ms: int, points: int
) -> Series:
    """Of looks that were kept before there were lines, from their bodies."""
    mine = (EvidenceRow.rollout == rollout, EvidenceRow.stream == stream, EvidenceRow.tick_ms > after_ms)
    found = session.scalars(select(EvidenceRow.tick_ms).where(*mine).order_by(EvidenceRow.tick_ms)).all()
    ticks = evenly(found, min(points, 500))
    bodies = select(EvidenceRow.body).where(*mine[:2], EvidenceRow.tick_ms.in_(ticks)).order_by(EvidenceRow.tick_ms)
    shapes: dict[int, Guards] = {}
    lines: list[Line] = []
    for look in session.scalars(bodies):
        shapes[len(lines)] = shape_of(look)
        lines.append(Line(look.tick_ms, look.e, look.limit, look.verdict, len(lines), line_of(look.cells)))
    return _columns(rollout, len(found), lines, shapes, guards)


def shape_of(look: Evidence) -> Guards:
    return tuple((cell.stream, cell.name, cell.role, cell.margin) for cell in look.cells)


def _columns(
    rollout: str, many: int, lines: Sequence[Line], shapes: dict[int, Guards], wanted: Collection[str]
) -> Series:
    places = {number: {each[:2]: at for at, each in enumerate(guards)} for number, guards in shapes.items()}
    last = {each[:2]: each for line in lines for each in shapes[line.shape]} if wanted else {}
    found: list[GuardSeries] = []
    for key, (stream, name, role, margin) in last.items():
        if name not in wanted or len(found) >= MOST_GUARDS:
            continue
        at = [places[line.shape].get(key) for line in lines]
        none = (None, None, None, None, None)
        rows = [none if i is None else line.cell(i) for line, i in zip(lines, at, strict=True)]
        estimate, low, high, labels, verdict = zip(*rows, strict=True) if rows else ((),) * 5
        found.append(
            GuardSeries.model_validate(
                {
                    "name": name, "stream": stream, "role": role, "margin": margin, "estimate": estimate, "low": low,
                    "high": high, "labels": labels, "verdict": verdict,
                }
            )
        )  # fmt: skip
    newest = shapes[lines[-1].shape] if lines else ()
    return Series.model_validate(
        {
            "rollout": rollout,
            "looks": many,
            "tick_ms": tuple(line.tick_ms for line in lines),
            "e": tuple(line.e for line in lines),
            "limit": tuple(line.limit for line in lines),
            "verdict": tuple(line.verdict for line in lines),
            "names": tuple(dict.fromkeys(name for _, name, _, _ in newest)),
            "guards": tuple(found),
        }
    )
