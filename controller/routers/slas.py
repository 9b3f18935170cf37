"""The SLA of a model, and those that it had. `PUT /v1/models/{model}` sets it."""

from __future__ import annotations

from fastapi import APIRouter, Response
from sqlalchemy import select

from controller.etags import tell
from controller.paging import Key, Page, Paged, page_of
from controller.registry_words import SlaLine
from controller.rows import model_of
from controller.services import Used, Viewing
from controller.slas import model_tag, sla_in_force
from controller.tables import SlaRow
from serinus.tasks import Name

__all__ = ["router"]

router = APIRouter(prefix="/v1/models/{model}/sla", tags=["models"])


@router.get("")
def get(model: Name, services: Used, _caller: Viewing, response: Response) -> SlaLine:
    """The SLA in force. Its ETag is the model's: `PUT /v1/models/{model}` takes it in If-Match."""
    with services.db.read() as session:
        row = model_of(session, model)
        tell(response, *model_tag(session, row))
        return _line(sla_in_force(session, model))


@router.get("/history")
def history(model: Name, services: Used, _caller: Viewing, paged: Paged) -> Page[SlaLine]:
    """Every SLA that it had, the newest first. A rollout keeps the one that it began with."""
    with services.db.read() as session:
        model_of(session, model)
        query = select(SlaRow).where(SlaRow.model == model)
        return page_of(session, query, [Key(SlaRow.number, falling=True)], paged, _line)


def _line(row: SlaRow) -> SlaLine:
    return SlaLine(model=row.model, number=row.number, sla=row.sla, reason=row.reason, actor=row.actor, at=row.at)
