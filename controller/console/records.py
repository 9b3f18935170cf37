"""The audit log."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from sqlalchemy import select
from starlette.responses import Response

from controller.console.render import page, to_path
from controller.console.visit import Visitor
from controller.paging import Key, Paging, page_of
from controller.services import Used
from controller.tables import AuditRow

__all__ = ["router"]

router = APIRouter(prefix="/audit")
Text = Annotated[str, Query(max_length=300)]


@router.get("")
def audit(
    request: Request,
    services: Used,
    visit: Visitor,
    *,
    actor: Text = "",
    subject: Text = "",
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
) -> Response:
    """The newest first. `subject`: what it begins with."""
    query = select(AuditRow)
    if actor.strip():
        query = query.where(AuditRow.actor == actor.strip())
    if subject.strip():
        query = query.where(AuditRow.subject.startswith(subject.strip(), autoescape=True))
    with services.db.read() as session:
        keys = [Key(AuditRow.number, falling=True)]
        found = page_of(session, query, keys, Paging(50, cursor), lambda row: (row, _said(row.detail)))
    older = to_path("audit", actor=actor, subject=subject, cursor=found.next) if found.next else ""
    told: dict[str, Any] = {"entries": found.items, "older": older, "actor": actor, "subject": subject}
    return page(request, "audit.html", visit, now=services.clock(), **told)


def _said(detail: dict[str, Any]) -> list[tuple[str, str]]:
    """The detail in short: what is long or nested is cut, `serinus audit` has it."""
    return [(key.replace("_", " "), str(value)[:160]) for key, value in detail.items() if value not in (None, "", [])]
