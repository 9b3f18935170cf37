"""A version's card, and what can be begun with it: a rollout, a direct promotion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from sqlalchemy import select
from starlette.responses import RedirectResponse, Response

from controller.cards import card_of
from controller.console.render import page, to_path
from controller.console.visit import Fields, Visit, Visitor
from controller.registry import alias_of
from controller.registry_words import CardView
from controller.routers import models as models_api
from controller.routers import rollouts as rollouts_api
from controller.rows import model_of
from controller.services import Services, Used
from controller.tables import RolloutRow, Version
from controller.views import rollout_view
from controller.words import PromoteBody, StartBody
from serinus.diff import Measured
from serinus.errors import NotFound, SerinusError

__all__ = ["router"]

router = APIRouter(prefix="/models/{model}/versions/{number}")
Number = Annotated[int, Path(ge=1, lt=2**31)]
MOST_SLICES = 300


@dataclass(frozen=True, slots=True)
class TaskTable:
    """What was measured of one task. `rows`: (slice, value by metric), overall first."""

    task: str
    metrics: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]


@router.get("")
def one(request: Request, services: Used, visit: Visitor, model: str, number: Number) -> Response:
    now = services.clock()
    with services.db.read() as session:
        card = card_of(session, services.store, model, number)
        others = select(Version.number).where(Version.model == model, Version.number != number)
        rollouts = select(RolloutRow).where(RolloutRow.model == model, RolloutRow.candidate == number)
        context: dict[str, Any] = {
            "stable": alias_of(session, model, "stable"),
            "others": list(
                session.scalars(others.where(Version.deleted_at.is_(None)).order_by(Version.number.desc()).limit(200))
            ),
            "rollouts": [
                rollout_view(session, row, now)
                for row in session.scalars(rollouts.order_by(RolloutRow.started_at.desc()).limit(20))
            ],
        }
    return page(request, "version.html", visit, now=now, card=card, tables=_tables(card.metrics), **context)


@router.get("/{deed}")
def ask(request: Request, services: Used, visit: Visitor, *, model: str, number: Number, deed: str) -> Response:
    return _form(request, services, visit, (model, number), deed)


@router.post("/{deed}")
def do(
    request: Request, services: Used, visit: Visitor, fields: Fields, *, model: str, number: Number, deed: str
) -> Response:
    """Start a rollout, or promote, by the handlers that the API has."""
    visit.need(_role(deed))
    reason = fields.get("reason", "").strip()[:2000]
    try:
        if deed == "rollout":
            body = StartBody(version=number, reason=reason, queue=fields.get("queue") == "yes")
            made = rollouts_api.begin(model, body, services, visit.caller)
            return RedirectResponse(to_path("rollouts", made.id, done="start"), 303)
        with services.db.read() as session:
            initial = alias_of(session, model, "stable") is None
        told = PromoteBody(version=number, reason=reason, initial=initial)
        models_api.promote(model, told, services, visit.caller)
        return RedirectResponse(to_path("models", model), 303)
    except SerinusError as error:
        return _form(request, services, visit, (model, number), deed, error=error, reason=reason)


def _role(deed: str) -> str:
    """Raises NotFound."""
    roles = {"rollout": "engineer", "promote": "operator"}
    if deed not in roles:
        raise NotFound(f"there is no {deed[:50]!r} of a version", "its page shows what there is")
    return roles[deed]


def _form(
    request: Request,
    services: Services,
    visit: Visit,
    which: tuple[str, int],
    deed: str,
    *,
    error: SerinusError | None = None,
    reason: str = "",
) -> Response:
    visit.need(_role(deed))
    now, (model, number) = services.clock(), which
    with services.db.read() as session:
        row = model_of(session, model)
        card: CardView = card_of(session, services.store, model, number)
        active = select(RolloutRow).where(RolloutRow.active_model == model)
        context = {
            "card": card,
            "plan": row.sla.rollout,
            "stable": alias_of(session, model, "stable"),
            "active": [rollout_view(session, each, now) for each in session.scalars(active)],
        }
    status = error.status if error else 200
    template = "begin.html" if deed == "rollout" else "promote.html"
    return page(request, template, visit, status=status, now=now, error=error, reason=reason, **context)


def _tables(measured: Measured) -> list[TaskTable]:
    found = []
    for task, places in sorted(measured.items()):
        metrics = tuple(sorted({metric for told in places.values() for metric in told}))
        names = sorted(places, key=lambda name: (name != "overall", name))[:MOST_SLICES]
        rows = tuple((name, tuple(places[name].get(metric) for metric in metrics)) for name in names)
        if metrics:
            found.append(TaskTable(task, metrics, rows))
    return found
