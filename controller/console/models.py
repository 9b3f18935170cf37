"""Models: the list, and one with its aliases, versions, SLA, ranking weights and health."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import yaml
from fastapi import APIRouter, Query, Request
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from controller.aliases import RESERVED
from controller.console.heat import heat_of, intervals_of
from controller.console.looks import counted, guards_of
from controller.console.render import page, to_path
from controller.console.visit import Fields, Visit, Visitor
from controller.paging import Key, Paging, page_of
from controller.registry_words import AliasBody
from controller.routers import aliases as aliases_api
from controller.routers import weights as weights_api
from controller.rows import model_of
from controller.services import Services, Used
from controller.tables import AliasMove, Model, RolloutRow, SlaRow, Version
from controller.views import alias_view, health_view, model_view, rollout_view
from controller.weights import weights_history
from controller.words import WeightsBody
from serinus.errors import BadInput, SerinusError
from serinus.rollouts import Phase

__all__ = ["router"]

router = APIRouter(prefix="/models")
Cursor = Annotated[str | None, Query(max_length=1000)]
Find = Annotated[str, Query(max_length=100)]
DONE = {"weights": "The ranking weights are in force.", "alias": "The alias was moved."}
MOST_WEIGHT = 64


@router.get("")
def list_all(request: Request, services: Used, visit: Visitor, find: Find = "", cursor: Cursor = None) -> Response:
    query = select(Model).where(Model.deleted_at.is_(None))
    if find.strip():
        query = query.where(Model.name.contains(find.strip(), autoescape=True))
    with services.db.read() as session:
        found = page_of(session, query, [Key(Model.name)], Paging(100, cursor), lambda row: model_view(session, row))
    older = to_path("models", find=find, cursor=found.next) if found.next else ""
    return page(request, "models.html", visit, now=services.clock(), models=found.items, older=older, find=find)


@router.get("/{model}")
def one(
    request: Request, services: Used, visit: Visitor, *, model: str, cursor: Cursor = None, done: str = ""
) -> Response:
    return _page(request, services, visit, model, cursor=cursor, done=DONE.get(done, ""))


@router.post("/{model}/weights")
def set_weights(request: Request, services: Used, visit: Visitor, fields: Fields, model: str) -> Response:
    visit.need("operator")
    try:
        body = WeightsBody(weights=_weights(fields), reason=fields.get("reason", "").strip()[:2000])
        weights_api.put(model, body=body, services=services, caller=visit.caller, response=Response())
    except SerinusError as error:
        return _page(request, services, visit, model, error=error)
    return RedirectResponse(to_path("models", model, done="weights"), 303)


@router.post("/{model}/alias")
def set_alias(request: Request, services: Used, visit: Visitor, fields: Fields, model: str) -> Response:
    visit.need("engineer")
    alias, version = fields.get("alias", "").strip(), fields.get("version", "")
    reason = fields.get("reason", "").strip()[:2000]
    try:
        if not alias or not version.isdecimal() or not 0 < int(version) < 2**31:
            raise BadInput("an alias has a name, and names a version")
        body = AliasBody(version=int(version), reason=reason)
        aliases_api.put(model, alias=alias, body=body, services=services, caller=visit.caller)
    except SerinusError as error:
        return _page(request, services, visit, model, error=error)
    return RedirectResponse(to_path("models", model, done="alias"), 303)


def _weights(fields: Mapping[str, str]) -> dict[str, float]:
    """Fields `weight.TASK`; an empty one: the task does not count. Raises BadInput that names the task."""
    found = {}
    for name, text in fields.items():
        task = name.removeprefix("weight.")
        if task == name or not text.strip():
            continue
        try:
            found[task] = float(text)
        except ValueError as error:
            raise BadInput(f"the weight of {task} is {text[:40]!r}, which is no number") from error
        if not abs(found[task]) <= MOST_WEIGHT:
            raise BadInput(f"the weight of {task} is {text[:40]}, not within ±{MOST_WEIGHT}")
    return found


def _page(
    request: Request,
    services: Services,
    visit: Visit,
    name: str,
    *,
    cursor: str | None = None,
    done: str = "",
    error: SerinusError | None = None,
) -> Response:
    now = services.clock()
    with services.db.read() as session:
        row = model_of(session, name)
        view = model_view(session, row)
        versions = select(Version).where(Version.model == name, Version.deleted_at.is_(None))
        moves = select(AliasMove).where(AliasMove.model == name)
        rollouts = select(RolloutRow).where(RolloutRow.model == name).order_by(RolloutRow.started_at.desc()).limit(10)
        slas = select(SlaRow).where(SlaRow.model == name).order_by(SlaRow.number.desc()).limit(10)
        context = {
            "view": view,
            "versions": page_of(
                session, versions, [Key(Version.number, falling=True)], Paging(25, cursor), lambda each: each
            ),
            "moves": page_of(session, moves, [Key(AliasMove.id, falling=True)], Paging(15), alias_view).items,
            "health": health_view(session, row),
            "weights": weights_history(session, name, 8),
            "rollouts": [rollout_view(session, each, now) for each in session.scalars(rollouts)],
            "slas": list(session.scalars(slas)),
            "tasks": sorted({*view.sla.tasks}),
            **_heat(session, name),
        }
    sla = yaml.safe_dump(view.sla.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True)
    return page(
        request,
        "model.html",
        visit,
        status=error.status if error else 200,
        now=now,
        sla=sla,
        done=done,
        error=error,
        reserved=RESERVED,
        cells=view.sla.cells(),
        **context,
    )


def _heat(session: Session, model: str) -> dict[str, Any]:
    """The look that counts of the rollout that goes on, else of the one that began last."""
    begun = select(RolloutRow).where(RolloutRow.model == model, RolloutRow.phase != Phase.QUEUED)
    newest = begun.order_by(RolloutRow.active_model.is_(None), RolloutRow.started_at.desc()).limit(1)
    row = session.scalar(newest)
    look = counted(session, row.id) if row is not None else None
    guards = guards_of(look) if look else []
    return {"look": look, "heat": heat_of(guards), "intervals": intervals_of(guards)}
