"""The looks of a rollout as its page shows them: the newest in full, and how each guard came there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from controller.rows import latest_evidence
from controller.series import MOST_GUARDS, read_series
from controller.tables import EvidenceRow
from serinus.evidence import CellEvidence, Evidence, Verdict
from serinus.series import GuardSeries, Series

__all__ = ["Guard", "Point", "counted", "drawn", "guards_of", "mark_of"]

MOST_LOOKS = 60
"""Looks that a chart shows: the first, the last and those evenly between."""
ROLES = ("required", "optional", "hold", "display")


@dataclass(frozen=True, slots=True)
class Point:
    """A guard at one look; `at_ms`: event time."""

    at_ms: int
    estimate: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Guard:
    """`culprit`: it is why the rollout is violated. `points`: in rising order of time."""

    cell: CellEvidence
    culprit: bool
    points: tuple[Point, ...] = ()

    @property
    def pressing(self) -> bool:
        """Whether it is not yet as it should be, of those that decide something."""
        return self.cell.verdict != "satisfied" and self.cell.role != "display"

    @property
    def order(self) -> tuple[int, int, int, float]:
        """What decides comes first: violated, without evidence, undecided, satisfied; required ones before others."""
        shown = ROLES.index(self.cell.role)
        late = shown >= 2  # what never decides is at the end, whatever it says
        return (int(late), -Verdict.of(self.cell.verdict), shown, -self.cell.e_violated)


def mark_of(session: Session, rollout: str) -> str:
    """Another text whenever there are other looks than before: cheap to ask."""
    query = select(func.count(), func.max(EvidenceRow.tick_ms)).where(EvidenceRow.rollout == rollout)
    many, last = session.execute(query).one()
    return f"{many}-{last}"


def counted(session: Session, rollout: str) -> Evidence | None:
    """The look that counts. Before live traffic: what the preflight found."""
    return latest_evidence(session, rollout) or latest_evidence(session, rollout, "replay")


def drawn(session: Session, newest: Evidence, guards: Sequence[Guard]) -> tuple[Series, list[Guard]]:
    """The guards with how they came there, the most pressing `MOST_GUARDS` of them; and the sum over time."""
    live = any(guard.cell.stream != "replay" for guard in guards)
    names = [guard.cell.name for guard in guards][:MOST_GUARDS]
    stream = "live" if live else "replay"
    series = read_series(session, newest.rollout, guards=names, stream=stream, points=MOST_LOOKS)
    columns = {(each.stream, each.name): each for each in series.guards}
    return series, [_with(guard, series, columns.get((guard.cell.stream, guard.cell.name))) for guard in guards]


def _with(guard: Guard, series: Series, column: GuardSeries | None) -> Guard:
    if column is None:
        return guard
    rows = zip(series.tick_ms, column.estimate, column.low, column.high, strict=True)
    return replace(guard, points=tuple(Point(*row) for row in rows))


def guards_of(look: Evidence) -> list[Guard]:
    """Pure. What decides comes first."""
    found = [Guard(cell, cell.name in look.culprits) for cell in look.cells]
    return sorted(found, key=lambda guard: (*guard.order, guard.cell.name))
