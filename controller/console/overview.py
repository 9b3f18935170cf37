"""The first page: what is going on, and what needs somebody. And the processes behind it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from markupsafe import Markup
from sqlalchemy import func, select
from starlette.responses import Response

from controller import leases
from controller.console.attention import needs_of
from controller.console.render import fragment, live, page, to_path
from controller.console.visit import Visitor
from controller.gates import FRESH_S
from controller.rows import report_of
from controller.services import Services, Used
from controller.tables import Model, Monitor, Replica, RolloutRow, Version
from controller.views import rollout_view
from serinus.rollouts import ENDS, Phase

__all__ = ["router"]

router = APIRouter()
MOST, MOST_REPLICAS, EVERY_S = 50, 200, 4


@router.get("/")
def overview(request: Request, services: Used, visit: Visitor) -> Response:
    return page(request, "overview.html", visit, now=services.clock(), live=_overview(services))


@router.get("/overview/live")
def overview_live(services: Used, _visit: Visitor, known: Annotated[str, Query(max_length=64)] = "") -> Response:
    return fragment(_overview(services), known)


def _overview(services: Services) -> Markup:
    now = services.clock()
    query = select(RolloutRow).where(RolloutRow.phase.not_in(ENDS)).order_by(RolloutRow.started_at.desc())
    with services.db.read() as session:
        active = [rollout_view(session, row, now) for row in session.scalars(query.limit(MOST))]
        ended = select(RolloutRow).where(RolloutRow.phase.in_(ENDS)).order_by(RolloutRow.started_at.desc()).limit(8)
        context: dict[str, Any] = {
            "needs": needs_of(session, active, now, acting=services.reconciler.active),
            "active": sorted(active, key=lambda view: view.phase is Phase.QUEUED),
            "ended": [rollout_view(session, row, now) for row in session.scalars(ended)],
            "models": session.scalar(select(func.count()).select_from(Model)),
            "versions": session.scalar(select(func.count()).select_from(Version)),
            "replicas": session.scalar(select(func.count()).select_from(Replica).where(Replica.expires_at > now)),
            "monitors": session.scalar(
                select(func.count()).select_from(Monitor).where(Monitor.seen_at >= now - FRESH_S)
            ),
        }
    return live("overview", to_path("overview", "live"), "_overview.html", every_s=EVERY_S, now=now, **context)


@router.get("/processes")
def processes(request: Request, services: Used, visit: Visitor) -> Response:
    now = services.clock()
    with services.db.read() as session:
        rows = select(Replica).order_by(Replica.pool, Replica.role, Replica.replica).limit(MOST_REPLICAS)
        context: dict[str, Any] = {
            "acted": leases.held(session, now),
            "replicas": [(row, report_of(row), row.expires_at > now) for row in session.scalars(rows)],
            "monitors": [
                (row, now - row.seen_at <= FRESH_S) for row in session.scalars(select(Monitor).order_by(Monitor.name))
            ],
        }
    return page(request, "processes.html", visit, now=now, acting=services.reconciler.active, **context)
