"""Whether the audit log is as it was written: each entry follows the one before it."""

from __future__ import annotations

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from controller.access_words import AuditVerdict
from controller.audit import GENESIS, seal
from controller.database import Database
from controller.tables import AuditRow
from serinus.errors import NotFound

__all__ = ["kept_fits", "verify"]

PAGE = 1000


def verify(db: Database, after: int, most: int) -> AuditVerdict:
    """Walk over at most `most` entries after the entry `after` (0: from the beginning), a page at a time.

    The seal of the entry `after` is taken as it stands. Raises NotFound when there is none."""
    with db.read() as session:
        number, before = after, _seal_of(session, after)
    looked = 0
    while looked < most:
        with db.read() as session:
            page = list(session.scalars(_following(number).limit(min(PAGE, most - looked))))
        for row in page:
            if why := _misfit(row, number, before):
                return AuditVerdict(
                    ok=False, entries=looked, broken_at=row.number, why=why, head=number, seal=before, next=None
                )
            number, before, looked = row.number, row.seal, looked + 1
        if not page:
            break
    with db.read() as session:
        more = session.scalar(_following(number).with_only_columns(AuditRow.number).limit(1)) is not None
    following = number if more else None
    return AuditVerdict(ok=True, entries=looked, broken_at=None, why="", head=number, seal=before, next=following)


def kept_fits(db: Database, number: int, kept: str) -> str:
    """Why a seal that somebody kept elsewhere is not that of the entry; "" when it is."""
    with db.read() as session:
        row = session.get(AuditRow, number)
    if row is None:
        return "an entry that was there is gone"
    return "" if row.seal == kept else "it has another seal than the one that was kept"


def _following(number: int) -> Select[AuditRow]:
    return select(AuditRow).where(AuditRow.number > number).order_by(AuditRow.number)


def _seal_of(session: Session, number: int) -> str:
    if not number:
        return GENESIS
    if (row := session.get(AuditRow, number)) is None:
        raise NotFound(f"there is no entry {number} of the audit log")
    return row.seal


def _misfit(row: AuditRow, number: int, before: str) -> str:
    if row.number != number + 1:
        return f"entries {number + 1} to {row.number - 1} are gone"
    told = {name: getattr(row, name) for name in ("number", "at", "actor", "action", "subject", "detail")}
    return "" if seal(before, told) == row.seal else "it, or the one before it, is not as it was written"
