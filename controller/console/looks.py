"""The looks of a rollout as its page shows them: the newest in full, and how each guard came there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from controller.rows import latest_evidence
from controller.tables import EvidenceRow
from serinus.evidence import CellEvidence, Evidence, Verdict

__all__ = ["Guard", "Point", "evenly", "guards_of", "mark_of", "read_looks"]

MOST_LOOKS = 60
"""Looks that a chart shows: the first, the last and those evenly between."""
ROLES = ("required", "optional", "hold", "display")
Key = tuple[str, str]
"""The stream of a cell, and its name."""


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
    points: tuple[Point, ...]

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


def evenly(ticks: Sequence[int], most: int = MOST_LOOKS) -> list[int]:
    """At most so many of them, evenly, with the first and the last."""
    if len(ticks) <= most:
        return list(ticks)
    step = (len(ticks) - 1) / (most - 1)
    return [ticks[round(at * step)] for at in range(most)]


def mark_of(session: Session, rollout: str) -> str:
    """Another text whenever there are other looks than before: cheap to ask."""
    query = select(func.count(), func.max(EvidenceRow.tick_ms)).where(EvidenceRow.rollout == rollout)
    many, last = session.execute(query).one()
    return f"{many}-{last}"


def read_looks(session: Session, rollout: str) -> tuple[Evidence | None, list[Evidence]]:
    """(the look that counts, those for the charts in rising order). Before live traffic: what the preflight found."""
    newest = latest_evidence(session, rollout)
    stream = "live" if newest else "replay"
    newest = newest or latest_evidence(session, rollout, "replay")
    ticks = select(EvidenceRow.tick_ms).where(EvidenceRow.rollout == rollout, EvidenceRow.stream == stream)
    chosen = evenly(list(session.scalars(ticks.order_by(EvidenceRow.tick_ms))))
    bodies = select(EvidenceRow.body).where(EvidenceRow.rollout == rollout, EvidenceRow.tick_ms.in_(chosen))
    return newest, list(session.scalars(bodies.order_by(EvidenceRow.tick_ms)))


def guards_of(newest: Evidence, looks: Sequence[Evidence]) -> list[Guard]:
    """Pure. What decides comes first."""
    points: dict[Key, list[Point]] = {}
    for look in looks:
        for cell in look.cells:
            told = Point(look.tick_ms, cell.estimate, cell.low, cell.high)
            points.setdefault((cell.stream, cell.name), []).append(told)
    found = [
        Guard(cell, cell.name in newest.culprits, tuple(points.get((cell.stream, cell.name), ())))
        for cell in newest.cells
    ]
    return sorted(found, key=lambda guard: (*guard.order, guard.cell.name))
