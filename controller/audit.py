"""The audit log: who did what to what, each entry sealed by the hash of the one before it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from controller.database import wakes
from controller.tables import AuditRow

__all__ = ["GENESIS", "audit", "seal"]

GENESIS = "0" * 64
"""What the first entry is sealed with."""
AUDIT_LOCK = 0x5E51_0006
"""Advisory lock of PostgreSQL: entries are written one after the other, else two would follow the same one."""


def audit(session: Session, *, actor: str, action: str, subject: str, detail: dict[str, Any], now: float) -> None:
    """Add an entry in this transaction: it is there exactly when what it tells of is.

    `action`: a word with a dot, `version.push`. `subject`: what it was done to, `models/ads/versions/3`. `detail`: what
    a reader needs to understand it later; never a token, a key or a request's features. `now`: Unix seconds."""
    detail = TypeAdapter(dict[str, Any]).validate_json(TypeAdapter(dict[str, Any]).dump_json(detail))  # as it is read
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("select pg_advisory_xact_lock(:key)"), {"key": AUDIT_LOCK})
    last = session.scalars(select(AuditRow).order_by(AuditRow.number.desc()).limit(1)).one_or_none()
    number, before = (last.number + 1, last.seal) if last else (1, GENESIS)
    told = {"number": number, "at": now, "actor": actor, "action": action, "subject": subject, "detail": detail}
    session.add(AuditRow(**told, seal=seal(before, told)))
    session.flush()
    wakes(session, "audit")


def seal(before: str, told: dict[str, Any]) -> str:
    """SHA-256, hex, of the seal before and of the entry as canonical JSON."""
    text_ = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(f"{before}\n{text_}".encode()).hexdigest()
