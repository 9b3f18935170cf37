"""Models: their SLA and pool, and what is stable."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy import select

from controller.advance import promote_now
from controller.paging import Key, Page, Paged, page_of
from controller.registry import put_model
from controller.rollouts import Ask
from controller.routes import publish
from controller.rows import model_of
from controller.services import Engineering, Operating, Used, Viewing
from controller.tables import Model
from controller.views import health_view, model_view
from controller.words import HealthView, ModelBody, ModelSaved, ModelView, PromoteBody
from serinus.errors import BadInput
from serinus.tasks import Name

__all__ = ["router"]

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.put("/{model}")
def put(model: Name, body: ModelBody, services: Used, _caller: Engineering) -> ModelSaved:
    """Create the model, or give it this SLA and pool. A rollout that is active keeps the SLA it began with."""
    if body.sla.model != model:
        raise BadInput(f"sla.model is {body.sla.model!r}, the URL says {model!r}")
    with services.db.write() as session:
        publish(session, put_model(session, body.sla, body.pool, services.clock()), services.store.uri)
    return ModelSaved(model=model, pool=body.pool)


@router.get("")
def list_models(services: Used, _caller: Viewing, paged: Paged) -> Page[ModelView]:
    """Models, by name."""
    with services.db.read() as session:
        return page_of(session, select(Model), [Key(Model.name)], paged, lambda row: model_view(session, row))


@router.get("/{model}")
def get(model: Name, services: Used, _caller: Viewing) -> ModelView:
    with services.db.read() as session:
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
