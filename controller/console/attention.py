"""What needs a person, the gravest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from controller import leases
from controller.console.render import to_path
from controller.gates import FRESH_S
from controller.tables import AlertRow, JobRow, Monitor, Replica, RolloutRow
from serinus.rollouts import Phase, RolloutView

__all__ = ["Need", "needs_of"]

DAY_S = 86_400.0
MOST = 30
ORDER = {"critical": 0, "warning": 1, "info": 2}


@dataclass(frozen=True, slots=True)
class Need:
    """`path`: where to see to it. `since`: wall time, Unix seconds."""

    severity: Literal["critical", "warning", "info"]
    title: str
    text: str
    path: str = ""
    since: float | None = None


def needs_of(session: Session, active: list[RolloutView], now: float, *, acting: bool) -> list[Need]:
    found = [*_processes(session, active, now, acting), *_ended(session, now)]
    found += [need for view in active if (need := _of_rollout(view)) is not None]
    found += _alerts(session) + _jobs(session, now)
    return sorted(found, key=lambda need: (ORDER[need.severity], -(need.since or now)))[:MOST]


def _of_rollout(view: RolloutView) -> Need | None:
    name, path = f"{view.model}: version {view.candidate}", to_path("rollouts", view.id)
    since = view.history[-1].at if view.history else view.started_at
    if view.phase is Phase.AWAITING_APPROVAL:
        return Need("warning", f"{name} awaits approval", view.waiting_for, path, since)
    if view.verdict == "violated":
        return Need("critical", f"{name} is violated", view.waiting_for, path, since)
    if view.verdict == "error":
        return Need("warning", f"{name} has no usable evidence", view.waiting_for, path, since)
    if view.phase is Phase.PAUSED:
        why = view.history[-1].why if view.history else ""
        return Need("warning", f"{name} is paused", why, path, since)
    if view.waiting_for.startswith("held:"):
        return Need("warning", f"{name} is held", view.waiting_for, path, since)
    return None


def _ended(session: Session, now: float) -> list[Need]:
    """What was rolled back within a day."""
    query = select(RolloutRow).where(RolloutRow.phase == Phase.ROLLED_BACK).order_by(RolloutRow.started_at.desc())
    rows = [row for row in session.scalars(query.limit(MOST)) if row.history and row.history[-1].at > now - DAY_S]
    return [
        Need(
            "critical",
            f"{row.model}: version {row.candidate} was rolled back",
            row.history[-1].why,
            to_path("rollouts", row.id),
            row.history[-1].at,
        )
        for row in rows
    ]


def _processes(session: Session, active: list[RolloutView], now: float, acting: bool) -> list[Need]:
    found = []
    seen = session.scalar(select(func.max(Monitor.seen_at)))
    if active and (seen is None or now - seen > FRESH_S):
        text = "Nothing is looked at: no rollout goes on, and shares end by themselves."
        found.append(Need("critical", "No monitor calls", text, to_path("processes"), seen))
    live = select(func.count()).select_from(Replica).where(Replica.expires_at > now)
    if active and not session.scalar(live):
        found.append(Need("critical", "No replica calls", "Nobody can load a candidate.", to_path("processes")))
    if not acting and leases.held(session, now):
        found.append(Need("info", "Another controller acts", "This one shows what is in the database, and waits."))
    elif not acting:
        text = "None holds the lease: no rollout is carried on, and none is rolled back. The controllers' log says why."
        found.append(Need("critical", "No controller acts", text, to_path("processes")))
    failed = select(Replica).where(Replica.expires_at > now, Replica.failed != {}).limit(5)
    if rows := list(session.scalars(failed)):
        text = "; ".join(f"{row.replica}: {next(iter(row.failed.values()), '')}" for row in rows)
        found.append(Need("warning", "Replicas cannot load a version", text, to_path("processes")))
    return found


def _alerts(session: Session) -> list[Need]:
    rows = session.scalars(
        select(AlertRow).where(AlertRow.active.is_not(None)).order_by(AlertRow.id.desc()).limit(MOST)
    )
    return [
        Need("warning", f"{row.model}: {row.body.kind}", row.body.text, to_path("models", row.model), row.raised_at)
        for row in rows
    ]


def _jobs(session: Session, now: float) -> list[Need]:
    failed = select(JobRow).where(JobRow.state == "failed", JobRow.ended_at > now - DAY_S)
    rows = session.scalars(failed.order_by(JobRow.ended_at.desc()).limit(5))
    return [
        Need("info", f"{row.model}: a {row.kind} failed", row.said, to_path("jobs", row.id), row.ended_at)
        for row in rows
    ]
