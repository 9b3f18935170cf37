"""What replicas report, how long it counts, and which route tables they lack."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import bindparam, delete, update
from sqlalchemy.orm import Session

from controller.database import upsert, wakes
from controller.rows import report_of
from controller.tables import Replica
from serinus.routes import ReplicaReport, WatchRequest

__all__ = ["GRACE_S", "gone", "record", "renew", "said"]

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
    news = row is None or said(report_of(row)) != said(report)
    news = news or (row is not None and row.expires_at <= now)
    expires_at = max(now + request.wait_s + GRACE_S, row.expires_at if row else 0.0)
    upsert(session, Replica, {"pool": pool, "replica": report.replica}, _values(report, now, expires_at))
    if news:
        session.execute(delete(Replica).where(Replica.expires_at < now - FORGET_S))
        wakes(session, "facts")
    return expires_at


def renew(session: Session, noted: Iterable[tuple[str, WatchRequest, float, float]]) -> None:
    """Write many reports that say nothing new: (pool, request, when it came, until when it counts).

    What the replica said later to another controller stays; of the two ends the later one counts."""
    rows = [
        {"of_pool": pool, "of_replica": request.report.replica, **_values(request.report, at, expires_at)}
        for pool, request, at, expires_at in sorted(noted, key=lambda each: (each[0], each[1].report.replica))
    ]
    if not rows:
        return
    mine = (Replica.pool == bindparam("of_pool"), Replica.replica == bindparam("of_replica"))
    later = Replica.number <= bindparam("number")
    table: Any = Replica.__table__
    columns: dict[str, Any] = {name: bindparam(name) for name in rows[0] if not name.startswith("of_")}
    session.connection().execute(update(table).where(*mine, later).values(columns), rows)


def _values(report: ReplicaReport, now: float, expires_at: float) -> dict[str, Any]:
    return {
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
    }


def said(report: ReplicaReport) -> tuple[object, ...]:
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
