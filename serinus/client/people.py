"""What the API says of tokens, of the audit log, and of events."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict

from serinus.client.views import View

__all__ = ["AuditEntry", "AuditVerdict", "EventView", "Me", "TokenMade", "TokenView"]


class Me(View):
    """Whose token this is."""

    name: str
    role: str


class TokenView(View):
    """A token that the server knows: never the token itself. Times: Unix seconds."""

    name: str
    role: str
    created_at: float | None = None
    expires_at: float | None = None
    last_used_at: float | None = None
    source: str = ""


class TokenMade(TokenView):
    """A token that was just made. `token`: said this once and never again."""

    token: str


class AuditEntry(View):
    """One line of the audit log: who did what to what. `seal` chains it to the line before."""

    model_config = ConfigDict(frozen=True, extra="allow")

    number: int = 0
    at: float | None = None
    actor: str = ""
    action: str = ""
    subject: str = ""
    detail: dict[str, Any] = {}
    seal: str = ""


class AuditVerdict(View):
    """Whether the chain holds; else `broken_at` is the number of the first entry that does not fit, and `why`.

    `head`, `seal`: of the last entry; kept elsewhere, they show later that nobody has rewritten the log."""

    model_config = ConfigDict(frozen=True, extra="allow")

    ok: bool
    entries: int = 0
    broken_at: int | None = None
    why: str = ""
    head: int = 0
    seal: str = ""
    next: int | None = None


class EventView(View):
    """Something changed. `id`: to go on from; `kind`: of what; `data`: what the server says of it."""

    id: str
    kind: str
    data: dict[str, Any] = {}
