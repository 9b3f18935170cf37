"""Is it alive, is it ready, and what is there altogether."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from sqlalchemy import select

from controller.gates import FRESH_S
from controller.rows import report_of
from controller.services import Used, Viewing
from controller.tables import Model, Monitor, Replica, RolloutRow
from controller.views import model_view, rollout_view
from controller.words import ModelLine, MonitorView, ReplicaView, RolloutLine, Status
from serinus.errors import Unavailable
from serinus.tasks import Word

__all__ = ["router"]

router = APIRouter(tags=["status"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(services: Used) -> dict[str, str]:
    """The database can be read and written, has the schema of this release, and the reconciler's thread runs."""
    if not (state := services.db.state()).ok:
        raise Unavailable(f"the database is {state.word.replace('_', ' ')}", state.said)
    if not services.reconciler.alive:
        raise Unavailable("the reconciler's thread has ended", "restart the controller; its log says why it ended")
    return {"status": "ready"}


@router.get("/v1/status")
def status(services: Used, caller: Viewing) -> Status:
    """Models, active rollouts, replicas and monitors."""
    now = services.clock()
    with services.db.read() as session:
        active = select(RolloutRow).where(RolloutRow.active_model.is_not(None)).order_by(RolloutRow.started_at)
        models = [
            model_view(session, row)
            for row in session.scalars(select(Model).where(Model.deleted_at.is_(None)).order_by(Model.name))
        ]
        rollouts = [rollout_view(session, row, now) for row in session.scalars(active)]
        replicas = session.scalars(select(Replica).order_by(Replica.pool, Replica.role, Replica.replica))
        return Status(
            models=tuple(ModelLine(**_only(view, ModelLine)) for view in models),
            rollouts=tuple(RolloutLine(**_only(view, RolloutLine)) for view in rollouts),
            replicas=tuple(
                ReplicaView(
                    pool=row.pool,
                    seen_at=row.seen_at,
                    live=row.expires_at > now,
                    **report_of(row).model_dump(exclude={"number"}),
                )
                for row in replicas
            ),
            monitors=tuple(
                MonitorView(monitor=row.name, seen_at=row.seen_at, live=now - row.seen_at <= FRESH_S)
                for row in session.scalars(select(Monitor).order_by(Monitor.name))
            ),
            acting=services.reconciler.active,
            you=caller.role,
        )


def _only(view: Word, line: type[Word]) -> dict[str, Any]:
    """The fields of the view that a line of the status has."""
    return {name: getattr(view, name) for name in line.model_fields}
