"""A rollout as it happens, and the list of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from markupsafe import Markup
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import Response

from controller.console.charts import guard_chart, sum_chart
from controller.console.consequences import offers
from controller.console.looks import counted, drawn, guards_of, mark_of
from controller.console.phases import stations_of
from controller.console.plans import forecast
from controller.console.render import fragment, live, page, to_path
from controller.console.visit import Visit, Visitor
from controller.paging import Key, Paging, page_of
from controller.rows import rollout_row
from controller.services import Services, Used
from controller.tables import EvidenceRow, RolloutRow
from controller.views import rollout_view
from serinus.errors import NotFound
from serinus.rollouts import ENDS, RolloutView

__all__ = ["router"]

router = APIRouter(prefix="/rollouts")
MOST_LOOKS = 20
"""Looks that are linked to, the newest."""
MOST_FIRST = 12
"""Guards that are drawn at once; the others wait behind a click."""
Known = Annotated[str, Query(max_length=64)]
Cursor = Annotated[str | None, Query(max_length=1000)]
DONE = {
    "start": "The rollout was started.",
    "pause": "It is paused.",
    "resume": "It goes on.",
    "approve": "Approved: it goes on.",
    "skip": "Skipped: it goes on.",
    "abort": "It was aborted.",
    "rollback": "It was rolled back.",
    "promote": "The candidate is stable now.",
}


@router.get("")
def list_all(request: Request, services: Used, visit: Visitor, model: str = "", cursor: Cursor = None) -> Response:
    now, query = services.clock(), select(RolloutRow)
    if model:
        query = query.where(RolloutRow.model == model)
    with services.db.read() as session:
        keys = [Key(RolloutRow.started_at, falling=True), Key(RolloutRow.id)]
        found = page_of(session, query, keys, Paging(50, cursor), lambda row: rollout_view(session, row, now))
    older = to_path("rollouts", model=model, cursor=found.next) if found.next else ""
    return page(request, "rollouts.html", visit, now=now, views=found.items, older=older, model=model)


@router.get("/{rollout_id}")
def one(request: Request, services: Used, visit: Visitor, rollout_id: str, done: str = "") -> Response:
    with services.db.read() as session:
        view = rollout_view(session, rollout_row(session, rollout_id), services.clock())
    parts: dict[str, Any] = {"state": _state(services, visit, rollout_id), "guards": _guards(services, rollout_id)}
    return page(request, "rollout.html", visit, now=services.clock(), view=view, done=DONE.get(done, ""), **parts)


@router.get("/{rollout_id}/state")
def state(services: Used, visit: Visitor, rollout_id: str, known: Known = "") -> Response:
    return fragment(_state(services, visit, rollout_id), known)


@router.get("/{rollout_id}/guards")
def guards(services: Used, _visit: Visitor, rollout_id: str, seen: str = "", known: Known = "") -> Response:
    with services.db.read() as session:
        view = rollout_row(session, rollout_id)
        if seen and view.phase not in ENDS and seen == mark_of(session, rollout_id):
            return Response(status_code=204)
    return fragment(_guards(services, rollout_id), known)


@router.get("/{rollout_id}/looks/{tick_ms}")
def look(request: Request, services: Used, visit: Visitor, rollout_id: str, tick_ms: int) -> Response:
    """One look with all its numbers."""
    with services.db.read() as session:
        view = rollout_view(session, rollout_row(session, rollout_id), services.clock())
        mine = (EvidenceRow.rollout == rollout_id, EvidenceRow.tick_ms == tick_ms)
        body = session.scalars(select(EvidenceRow.body).where(*mine).limit(1)).one_or_none()
    if body is None:
        raise NotFound(f"rollout {rollout_id} has no look at {tick_ms}", "its page lists those there are")
    cells = guards_of(body)
    return page(request, "look.html", visit, now=services.clock(), view=view, look=body, cells=cells)


def _state(services: Services, visit: Visit, rollout_id: str) -> Markup:
    now = services.clock()
    with services.db.read() as session:
        view = rollout_view(session, rollout_row(session, rollout_id), now)
        told: dict[str, Any] = {"view": view, "stations": stations_of(view), "offers": offers(view, visit)}
        told["forecast"] = forecast(session, view, now)
        told["queue"] = _queue(session, view, now)
    url = to_path("rollouts", rollout_id, "state")
    return live("state", url, "_state.html", polls=view.phase not in ENDS, now=now, **told)


def _queue(session: Session, view: RolloutView, now: float) -> Sequence[RolloutView]:
    """Those that wait behind or before it."""
    query = select(RolloutRow).where(RolloutRow.model == view.model, RolloutRow.phase == "queued")
    rows = session.scalars(query.where(RolloutRow.id != view.id).order_by(RolloutRow.place).limit(20))
    return [rollout_view(session, row, now) for row in rows]


def _guards(services: Services, rollout_id: str) -> Markup:
    now = services.clock()
    with services.db.read() as session:
        row = rollout_row(session, rollout_id)
        mark = mark_of(session, rollout_id)
        newest = counted(session, rollout_id)
        series, found = drawn(session, newest, guards_of(newest)) if newest else (None, [])
        kept = select(EvidenceRow.tick_ms).where(EvidenceRow.rollout == rollout_id)
        looks = list(session.scalars(kept.order_by(EvidenceRow.tick_ms.desc()).limit(MOST_LOOKS)))
        ended, sla = row.phase in ENDS, row.sla
    told: dict[str, Any] = {"newest": newest, "tick_s": sla.tick_s, "rollout": rollout_id, "looks": looks}
    told["sums"] = sum_chart(series) if series else None
    pairs = told["guards"] = [(guard, guard_chart(guard)) for guard in found]
    told["first"] = [(guard, chart) for guard, chart in pairs if guard.pressing and chart][:MOST_FIRST]
    told["waiting"] = [(guard, chart) for guard, chart in pairs if guard.pressing and not chart]
    shown = [*told["first"], *told["waiting"]]
    told["rest"] = [pair for pair in pairs if pair not in shown]
    told["tally"] = {
        v: sum(g.cell.verdict == v for g in found) for v in ("violated", "error", "inconclusive", "satisfied")
    }
    told["missing"] = sum(g.cell.needs or 0 for g in found if g.cell.role == "required")
    url = to_path("rollouts", rollout_id, "guards", seen=mark)
    return live("guards", url, "_guards.html", polls=not ended, now=now, **told)
