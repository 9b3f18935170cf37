"""What people are told of: a rollout that ended or waits for them, and trouble with what is stable."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from serinus.evidence import CellEvidence, Evidence
from serinus.tasks import Word

__all__ = ["MOST_GUARDS", "GuardNumbers", "Notice", "NoticeKind", "Severity", "numbers_of"]

NoticeKind = Literal["rolled_back", "promoted", "awaiting_approval", "held", "dry_run", "rollout", "health", "test"]
Severity = Literal["info", "warning", "critical"]
MOST_GUARDS = 10


class GuardNumbers(Word):
    """A guard as it stood: the candidate's loss with its interval, next to the margin, all in the metric's unit."""

    guard: str
    verdict: str
    estimate: float | None
    low: float | None
    high: float | None
    margin: float
    e: float
    labels: int


class Notice(Word):
    """One thing that people should know.

    `key`: the same for the same trouble, so that the end of it (`resolved`) can be told to those who heard of it.
    `rollout`: its id, where it is about one. `at`: wall time, Unix seconds."""

    kind: NoticeKind
    severity: Severity
    key: Annotated[str, Field(max_length=400)]
    model: str
    rollout: str | None = None
    title: Annotated[str, Field(max_length=200)]
    text: Annotated[str, Field(max_length=4_000)] = ""
    guards: Annotated[tuple[GuardNumbers, ...], Field(max_length=MOST_GUARDS)] = ()
    resolved: bool = False
    at: float


def numbers_of(evidence: Evidence | None) -> tuple[GuardNumbers, ...]:
    """The guards that a decision on this evidence is about: the violated ones, or else those that are not satisfied."""
    if evidence is None:
        return ()
    cells = [cell for cell in evidence.cells if cell.name in evidence.culprits or cell.verdict == "violated"]
    cells = cells or [cell for cell in evidence.cells if cell.role == "required" and cell.verdict != "satisfied"]
    return tuple(_numbers(cell) for cell in sorted(cells, key=lambda cell: -cell.e_violated)[:MOST_GUARDS])


def _numbers(cell: CellEvidence) -> GuardNumbers:
    return GuardNumbers(
        guard=cell.name,
        verdict=cell.verdict,
        estimate=cell.estimate,
        low=cell.low,
        high=cell.high,
        margin=cell.margin,
        e=cell.e_violated,
        labels=cell.labels,
    )
