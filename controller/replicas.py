"""What replicas report, how long it counts, and which route tables they lack."""

from __future__ import annotations

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from controller.database import upsert, wakes
from controller.rows import report_of
from controller.tables import Model, Replica, Route
from serinus.routes import ReplicaReport, Watched, WatchRequest

__all__ = ["gone", "newer", "record"]

GRACE_S = 15.0
"""Wall seconds beyond the end of its poll within which a replica must call again to count as live."""
FORGET_S = 3600.0


def record(session: Session, pool: str, request: WatchRequest, now: float) -> float:
    """Keep the report, until when it counts is returned; decisions are woken when it says something new.

    A replica may report beside its long poll: the later end of the two counts, and what it said last, which need not
    arrive last."""
    report = request.report
    row = session.get(Replica, (pool, report.replica), with_for_update=True)
    if row is not None and report.number < row.number:
        row.expires_at = max(now + request.wait_s + GRACE_S, row.expires_at)
        return row.expires_at
    news = row is None or _said(report_of(row)) != _said(report)
    news = news or (row is not None and row.expires_at <= now)
    expires_at = max(now + request.wait_s + GRACE_S, row.expires_at if row else 0.0)
    upsert(
        session,
        Replica,
        {"pool": pool, "replica": report.replica},
        {
            "role": report.role,
            "number": report.number,
            "applied": report.applied,
            "loaded": report.loaded,
            "fetched": report.fetched,
            "failed": report.failed,
            "resident_bytes": report.resident_bytes,
            "free_bytes": report.free_bytes,
            "seen_at": now,
            "expires_at": expires_at,
        },
    )
    if news:
        session.execute(delete(Replica).where(Replica.expires_at < now - FORGET_S))
        wakes(session, "facts")
    return expires_at


def _said(report: ReplicaReport) -> tuple[object, ...]:
    """What decisions may depend on."""
    return report.role, report.loaded, report.fetched, report.failed


def gone(session: Session, pool: str, replica: str, expires_at: float, now: float) -> None:
    """The connection of its long poll broke: it no longer counts, unless a later poll let it count for longer."""
    session.execute(
        update(Replica)
        .where(Replica.pool == pool, Replica.replica == replica, Replica.expires_at == expires_at)
        .values(expires_at=now)
    )
    wakes(session, "facts")


def newer(session: Session, pool: str, known: dict[str, int]) -> tuple[Watched, bool]:
    """The tables of the pool whose epoch is not the one known, and whether there is anything to tell."""
    query = select(Route.model, Route.epoch).join(Model, Model.name == Route.model).where(Model.pool == pool)
    epochs = {row.model: row.epoch for row in session.execute(query.order_by(Route.model))}
    other = [model for model, epoch in epochs.items() if known.get(model) != epoch]
    tables = session.scalars(select(Route.body).where(Route.model.in_(other)).order_by(Route.model)) if other else ()
    return Watched(tables=tuple(tables), models=tuple(epochs)), bool(other or known.keys() - epochs.keys())
