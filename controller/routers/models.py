"""Models: their SLA and pool, and what is stable."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from sqlalchemy import select

from controller import models
from controller.advance import promote_now
from controller.deletion import delete_model
from controller.etags import IfMatch, require, tell
from controller.paging import Key, Page, Paged, page_of
from controller.rollouts import Ask
from controller.routes import publish
from controller.rows import model_of
from controller.services import Admin, Engineering, Operating, Used, Viewing
from controller.slas import model_tag, sla_in_force
from controller.tables import Model
from controller.views import health_view, model_view
from controller.words import HealthView, ModelBody, ModelSaved, ModelView, PromoteBody, Reason
from serinus.errors import BadInput
from serinus.tasks import Name

__all__ = ["router"]

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.put("/{model}")
def put(
    model: Name, *, body: ModelBody, services: Used, caller: Engineering, response: Response, if_match: IfMatch = None
) -> ModelSaved:
    """Create the model, or give it this SLA and pool. A rollout that is active keeps the SLA it began with.

    Only an admin says who must sign."""
    if body.sla.model != model:
        raise BadInput(f"sla.model is {body.sla.model!r}, the URL says {model!r}")
    with services.db.write() as session:
        require(if_match, *models.tag_of(session, model))
        row = models.save(
            session,
            body.sla,
            body.pool,
            signed_by=body.signed_by,
            reason=body.reason,
            caller=caller,
            now=services.clock(),
        )
        publish(session, row, services.store.uri)
        tell(response, *model_tag(session, row))
        return ModelSaved(model=model, pool=body.pool, sla=sla_in_force(session, model).number)


@router.delete("/{model}", status_code=204)
def delete(
    model: Name,
    *,
    services: Used,
    caller: Admin,
    if_match: IfMatch = None,
    reason: Annotated[Reason, Query()] = "",
    retire: Annotated[
        bool, Query(description="Also while a version is stable: replicas drop the model at once.")
    ] = False,
) -> None:
    """Delete a model with its versions. Refused (409) while a rollout or a job of it goes on, or while it serves."""
    with services.db.write() as session:
        require(if_match, *models.tag_of(session, model))
        delete_model(session, model, retire=retire, reason=reason, actor=caller.name, now=services.clock())


@router.get("")
def list_models(services: Used, _caller: Viewing, paged: Paged) -> Page[ModelView]:
    """Models, by name."""
    with services.db.read() as session:
        return page_of(
            session,
            select(Model).where(Model.deleted_at.is_(None)),
            [Key(Model.name)],
            paged,
            lambda row: model_view(session, row),
        )


@router.get("/{model}")
def get(model: Name, services: Used, _caller: Viewing, response: Response) -> ModelView:
    """A model: its SLA, where its aliases point and have pointed, its active rollout. Its ETag is for writes."""
    with services.db.read() as session:
        tell(response, *model_tag(session, model_of(session, model)))
        return model_view(session, model_of(session, model))


@router.get("/{model}/health")
def health(model: Name, services: Used, _caller: Viewing) -> HealthView:
    """The alerts of its stable version, of its inputs and of its logs: those that last, and those that are over."""
    with services.db.read() as session:
        return health_view(session, model_of(session, model))


@router.post("/{model}/promote")
def promote(model: Name, body: PromoteBody, services: Used, caller: Operating) -> ModelView:
    """Make a version stable at once: the first one (`initial`), or as an override, which needs a reason."""
    ask = Ask("promote", body.reason, body.actor or caller.name, caller.name)
    with services.db.write() as session:
        promote_now(
            session, model, body.version, services.store.uri, ask=ask, initial=body.initial, now=services.clock()
        )
        return model_view(session, model_of(session, model))
