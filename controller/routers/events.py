"""Server-sent events: one for each change."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from sqlalchemy import ColumnElement, or_, select, true
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response

from controller.auth import PEOPLE, authenticate
from controller.rows import model_of, rollout_row
from controller.services import Services, Used, Viewing
from controller.streams import Changes, EventStream
from controller.tables import AuditRow, RolloutRow
from serinus.errors import SerinusError
from serinus.tasks import Name

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["events"])
Number = Annotated[int | None, Query(ge=0, le=2**62, description="Begin after this event; left out: with the next.")]
LastEventId = Annotated[str | None, Header(pattern=r"^[0-9]{0,18}$", description="Wins over `after`.")]
AS_EVENTS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}


@router.get("/events", status_code=200, response_class=EventStream, responses=AS_EVENTS)
def events(
    request: Request,
    services: Used,
    _caller: Viewing,
    model: Name | None = None,
    after: Number = None,
    last_event_id: LastEventId = None,
) -> Response:
    """Every change, of one model or of all: an entry of the audit log as an event, with its number as id.

    `Last-Event-ID` goes on where one was. A comment comes when nothing has come for 15 s."""
    wanted: ColumnElement[bool] = true()
    if model is not None:
        with services.db.read() as session:
            model_of(session, model)
        rollouts = select("rollouts/" + RolloutRow.id).where(RolloutRow.model == model)
        wanted = or_(_at(f"models/{model}"), AuditRow.subject.in_(rollouts))
    return _stream(request, services, wanted, after, last_event_id)


@router.get("/rollouts/{rollout_id}/events", status_code=200, response_class=EventStream, responses=AS_EVENTS)
def rollout_events(
    rollout_id: str,
    request: Request,
    services: Used,
    _caller: Viewing,
    after: Number = None,
    last_event_id: LastEventId = None,
) -> Response:
    """Every change of a rollout, as above."""
    with services.db.read() as session:
        rollout_row(session, rollout_id)
    return _stream(request, services, _at(f"rollouts/{rollout_id}"), after, last_event_id)


def _at(subject: str) -> ColumnElement[bool]:
    return or_(AuditRow.subject == subject, AuditRow.subject.startswith(f"{subject}/", autoescape=True))


def _stream(
    request: Request, services: Services, wanted: ColumnElement[bool], after: int | None, last: str | None
) -> Response:
    header = request.headers.get("authorization")

    def still() -> bool:
        try:
            with services.db.read() as session:
                authenticate(session, header, frozenset(PEOPLE), services.clock())
        except SQLAlchemyError:
            return True  # the database is away for a while; the stream goes on when it is back
        except SerinusError:
            return False
        return True

    changes = Changes(services.db, services.events, wanted, int(last) if last else after)
    return EventStream(changes.texts(still), services.streams)
