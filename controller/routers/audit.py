"""The audit log: read, and verified."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import or_, select

from controller.access_words import AuditEntry, AuditVerdict
from controller.paging import Key, Page, Paged, page_of
from controller.services import Used, Viewing
from controller.tables import AuditRow
from controller.verify import kept_fits, verify

__all__ = ["as_entry", "router"]

router = APIRouter(prefix="/v1/audit", tags=["access"])
Wanted = Annotated[str | None, Query(min_length=1, max_length=500, pattern=r"^[^\x00]+$")]


@router.get("")
def list_entries(
    services: Used,
    _caller: Viewing,
    paged: Paged,
    subject: Wanted = None,
    actor: Wanted = None,
    action: Wanted = None,
) -> Page[AuditEntry]:
    """Who did what to what, the newest first. `subject`: also what is below it, `models/ads` has its versions."""
    query = select(AuditRow)
    if subject is not None:
        below = AuditRow.subject.startswith(f"{subject.rstrip('/')}/", autoescape=True)
        query = query.where(or_(AuditRow.subject == subject, below))
    if actor is not None:
        query = query.where(AuditRow.actor == actor)
    if action is not None:
        query = query.where(AuditRow.action == action)
    with services.db.read() as session:
        return page_of(session, query, [Key(AuditRow.number, falling=True)], paged, as_entry)


@router.get("/verify")
def check(
    services: Used,
    _caller: Viewing,
    after: Annotated[int, Query(ge=0, le=2**62, description="Go on after this entry.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1_000_000, description="How many entries at most.")] = 1_000_000,
    kept: Annotated[
        str | None,
        Query(pattern=r"^[1-9][0-9]{0,17}:[0-9a-f]{64}$", description="NUMBER:SEAL of an entry, kept elsewhere."),
    ] = None,
) -> AuditVerdict:
    """Whether each entry is as it was written, in its place; and whether the log still has the entry that you kept."""
    found = verify(services.db, after, limit)
    if kept is None or not found.ok:
        return found
    number, _, seal = kept.partition(":")
    why = kept_fits(services.db, int(number), seal)
    return found.model_copy(update={"ok": False, "broken_at": int(number), "why": why}) if why else found


def as_entry(row: AuditRow) -> AuditEntry:
    return AuditEntry.model_validate({name: getattr(row, name) for name in AuditEntry.model_fields})
