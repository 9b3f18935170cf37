"""Bodies of requests and answers about tokens and the audit log."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from controller.auth import Role
from serinus.tasks import Word

__all__ = ["AuditEntry", "AuditVerdict", "TokenBody", "TokenMade", "TokenView"]

TokenName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$")]
Seal = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class TokenBody(Word):
    """A token to be made. `expires_s`: seconds from now until it is good no more; null: for ever."""

    name: TokenName
    role: Role
    expires_s: Annotated[float | None, Field(ge=60, le=10 * 366 * 86_400)] = None


class TokenView(Word):
    """A token that is known: never the token itself. Times: Unix seconds; `last_used_at`: to the minute.

    `source`: "file" (SERINUS_TOKENS_FILE) or "api"."""

    name: str
    role: Role
    source: str
    created_by: str | None
    created_at: float | None
    expires_at: float | None
    last_used_at: float | None


class TokenMade(TokenView):
    """A token that was just made. `token`: in this answer, and nowhere else."""

    token: str


class AuditEntry(Word):
    """Who did what to what. `at`: Unix seconds. `seal`: SHA-256 over the seal before it and this entry."""

    number: int
    at: float
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    seal: Seal


class AuditVerdict(Word):
    """What the walk over the chain has found: `entries` were looked at.

    `broken_at`: the first entry that does not fit, `why` it does not; null: all fit. `head`, `seal`: the last entry
    that was looked at; kept elsewhere, they show later that nobody has rewritten the log. `next`: the walk ended before
    the log did; go on with it as `after`; null: that was all."""

    ok: bool
    entries: int
    broken_at: int | None
    why: str
    head: int
    seal: Seal
    next: int | None
