"""Commands of a rollout: a page that says what will happen, and the deed. It works without scripts."""

from __future__ import annotations

from typing import get_args

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from controller.console.consequences import LABELS, LOOKS, needs_reason, tell
from controller.console.render import page, to_path
from controller.console.visit import Fields, Visit, Visitor
from controller.routers import rollouts as api
from controller.rows import rollout_row
from controller.services import Services, Used
from controller.views import rollout_view
from controller.words import CommandBody
from serinus.errors import IllegalMove, NotFound, SerinusError, Stale
from serinus.rollouts import Command, RolloutView
from serinus.transitions import WHO

__all__ = ["router"]

router = APIRouter(prefix="/rollouts/{rollout_id}/do")
MOST_REASON = 2000


@router.get("/{command}")
def ask(request: Request, services: Used, visit: Visitor, rollout_id: str, command: str) -> Response:
    chosen = _command(command)
    view = _view(services, rollout_id)
    visit.need(WHO[chosen])
    return _form(request, services, visit, view, chosen, error=_impossible(view, chosen))


@router.post("/{command}")
def do(request: Request, services: Used, visit: Visitor, fields: Fields, *, rollout_id: str, command: str) -> Response:
    """The command, by the same handler that the API has; refused when the rollout has moved since the page was made."""
    chosen = _command(command)
    visit.need(WHO[chosen])
    view, reason = _view(services, rollout_id), fields.get("reason", "").strip()[:MOST_REASON]
    error: SerinusError | None = _impossible(view, chosen)
    if error is None and fields.get("seen") != _seen(view):
        error = Stale(
            f"it has moved on since you opened this page: it is in {view.phase} now",
            "read again what will happen, then repeat",
        )
    if error is None:
        try:
            api.command(rollout_id, CommandBody(command=chosen, reason=reason), services, visit.caller)
        except SerinusError as refused:
            error = refused
    if error is not None:
        return _form(request, services, visit, _view(services, rollout_id), chosen, error=error, reason=reason)
    return RedirectResponse(to_path("rollouts", rollout_id, done=chosen), 303)


def _form(
    request: Request,
    services: Services,
    visit: Visit,
    view: RolloutView,
    command: Command,
    *,
    error: SerinusError | None,
    reason: str = "",
) -> Response:
    return page(
        request,
        "command.html",
        visit,
        status=error.status if error else 200,
        now=services.clock(),
        view=view,
        command=command,
        label=LABELS[command],
        look=LOOKS.get(command, "main"),
        telling=tell(view, command),
        possible=_impossible(view, command) is None,
        required=needs_reason(view, command),
        seen=_seen(view),
        error=error,
        reason=reason,
    )


def _impossible(view: RolloutView, command: Command) -> IllegalMove | None:
    if command in view.allowed:
        return None
    story = "; ".join(f"{m.start} → {m.to} ({m.actor}: {m.why})" for m in view.history[-5:])
    return IllegalMove(f"{command} is not possible in {view.phase}", f"what came before: {story or 'nothing yet'}")


def _seen(view: RolloutView) -> str:
    """Another text after every move and every step."""
    return f"{view.phase}.{view.step}.{len(view.history)}"


def _command(text: str) -> Command:
    for known in get_args(Command):
        if known == text:
            chosen: Command = known
            return chosen
    raise NotFound(f"there is no command {text[:50]!r}", f"there are {', '.join(get_args(Command))}")


def _view(services: Services, rollout_id: str) -> RolloutView:
    with services.db.read() as session:
        return rollout_view(session, rollout_row(session, rollout_id), services.clock())
