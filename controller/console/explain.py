"""Why a rollout is where it is: every move, with the evidence that it rests on."""

from __future__ import annotations

from fastapi import APIRouter, Request
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from controller.console.looks import Guard, guards_of
from controller.console.render import page, to_path
from controller.console.visit import Fields, Visitor
from controller.routers import jobs as jobs_api
from controller.rows import rollout_row
from controller.services import Used
from controller.tables import EvidenceRow
from controller.views import rollout_view
from serinus.evidence import Evidence
from serinus.jobs import JobAsk
from serinus.rollouts import Move

__all__ = ["router"]

router = APIRouter(prefix="/rollouts/{rollout_id}/explain")
MOST_CELLS = 8


@router.get("")
def explain(request: Request, services: Used, visit: Visitor, rollout_id: str) -> Response:
    with services.db.read() as session:
        view = rollout_view(session, rollout_row(session, rollout_id), services.clock())
        chain = [(move, *_rests_on(session, rollout_id, move)) for move in view.history]
    return page(request, "explain.html", visit, now=services.clock(), view=view, chain=chain)


@router.post("/recompute/{tick_ms}")
def recompute(services: Used, visit: Visitor, _fields: Fields, rollout_id: str, tick_ms: int) -> Response:
    """Ask a monitor to make that look again from what it kept."""
    visit.need("engineer")
    with services.db.read() as session:
        model = rollout_row(session, rollout_id).model
    ask = JobAsk(kind="recompute", model=model, params={"rollout": rollout_id, "tick_ms": tick_ms})
    made = jobs_api.ask(ask, services, visit.caller)
    return RedirectResponse(to_path("jobs", made.id), 303)


def _rests_on(session: Session, rollout: str, move: Move) -> tuple[Evidence | None, list[Guard]]:
    """The look whose digest the move names, and the cells that carried it."""
    if move.evidence is None:
        return None, []
    named = (EvidenceRow.rollout == rollout, EvidenceRow.digest == move.evidence)
    look = session.scalars(select(EvidenceRow.body).where(*named).limit(1)).one_or_none()
    if look is None:
        return None, []
    return look, [guard for guard in guards_of(look) if guard.cell.role != "display"][:MOST_CELLS]
