"""Is it alive, is it ready, and what is there altogether."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy import select

from controller.gates import FRESH_S
from controller.rows import report_of
from controller.services import Admin, Used
from controller.tables import Model, Monitor, Replica, RolloutRow
from controller.views import model_view, rollout_view
from controller.words import MonitorView, ReplicaView, Status
from serinus.errors import Unavailable

__all__ = ["router"]

router = APIRouter(tags=["status"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(services: Used) -> dict[str, str]:
    """The database answers and the reconciler's thread runs."""
    with services.db.read() as session:
        session.execute(select(1))
    if not services.reconciler.alive:
        raise Unavailable("the reconciler's thread has ended", "restart the controller; its log says why it ended")
    return {"status": "ready"}


@router.get("/v1/status")
def status(services: Used, caller: Admin) -> Status:
    """Models, active rollouts, replicas and monitors."""
    now = services.clock()
    with services.db.read() as session:
        active = select(RolloutRow).where(RolloutRow.active_model.is_not(None)).order_by(RolloutRow.started_at)
        return Status(
            models=tuple(model_view(session, row) for row in session.scalars(select(Model).order_by(Model.name))),
            rollouts=tuple(rollout_view(session, row, now) for row in session.scalars(active)),
            replicas=tuple(
                ReplicaView(pool=row.pool, report=report_of(row), seen_at=row.seen_at, live=row.expires_at > now)
                for row in session.scalars(select(Replica).order_by(Replica.pool, Replica.role, Replica.replica))
            ),
            monitors=tuple(
                MonitorView(monitor=row.name, seen_at=row.seen_at, live=now - row.seen_at <= FRESH_S)
                for row in session.scalars(select(Monitor).order_by(Monitor.name))
            ),
            acting=services.reconciler.active,
            you=caller.role,
        )
