"""Ranking weights of a model."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from sqlalchemy.orm import Session

from controller.audit import audit
from controller.etags import IfMatch, require, tell
from controller.routes import publish
from controller.rows import lock_model, model_of
from controller.services import Operating, Used, Viewing
from controller.weights import put_weights, weights_history
from controller.words import WeightsBody, WeightsLine, WeightsView
from serinus.tasks import Name

__all__ = ["router"]

router = APIRouter(prefix="/v1/models/{model}/weights", tags=["models"])


@router.get("")
def get(
    model: Name,
    services: Used,
    _caller: Viewing,
    response: Response,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
) -> WeightsView:
    """The weights in force, and the `limit` last changes of them, the newest first."""
    with services.db.read() as session:
        model_of(session, model)
        found = _view(session, model, limit)
        tell(response, found.number, found.weights)
        return found


@router.put("")
def put(
    model: Name, *, body: WeightsBody, services: Used, caller: Operating, response: Response, if_match: IfMatch = None
) -> WeightsView:
    """Set all ranking weights; every replica ranks by them within a second. {}: every task counts once."""
    now = services.clock()
    with services.db.write() as session:
        lock_model(session, model)
        before = _view(session, model, 1)
        require(if_match, before.number, before.weights)
        told = {"reason": body.reason, "actor": body.actor or caller.name}
        found = put_weights(session, model, body.weights, **told, now=now)
        publish(session, found, services.store.uri)
        after = _view(session, model, 20)
        if after.number != before.number:
            subject, detail = f"models/{model}/weights", {"number": after.number, "weights": after.weights, **told}
            audit(session, actor=caller.name, action="weights.set", subject=subject, detail=detail, now=now)
        tell(response, after.number, after.weights)
        return after


def _view(session: Session, model: str, limit: int) -> WeightsView:
    lines = tuple(
        WeightsLine(number=row.number, weights=row.weights, reason=row.reason, actor=row.actor, at=row.at)
        for row in weights_history(session, model, limit)
    )
    newest = lines[0] if lines else None
    return WeightsView(
        model=model,
        number=newest.number if newest else 0,
        weights=newest.weights if newest else {},
        history=lines,
    )
