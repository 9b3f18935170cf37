"""Who may do what: bearer tokens, known only by their SHA-256, each with one role."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Literal

from pydantic import Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from controller.database import Database
from controller.tables import Token
from serinus.errors import BadInput, NotAllowed, Unauthenticated
from serinus.tasks import Word

__all__ = ["PEOPLE", "Caller", "Role", "authenticate", "bearer_sha256", "require_tokens"]

Role = Literal["viewer", "engineer", "operator", "admin", "replica", "monitor"]
PEOPLE: tuple[Role, ...] = ("viewer", "engineer", "operator", "admin")
"""Each may do what those before it may. `replica` and `monitor` are processes: they call what is theirs alone."""
BEARER = re.compile(r"Bearer +([\x21-\x7e]{1,512}) *", re.IGNORECASE)


class Caller(Word):
    """Who sent a request."""

    name: Annotated[str, Field(description="Name of the token; `anybody` while no token is known.")]
    role: Role
    expires_at: Annotated[float | None, Field(description="When the token ends, Unix seconds; null: never.")] = None


def require_tokens(db: Database, loopback: bool) -> None:
    """Raise BadInput when everybody in the network could use an API without tokens."""
    with db.read() as session:
        if not loopback and not session.scalar(select(func.count()).select_from(Token)):
            raise BadInput(
                "SERINUS_CONTROLLER_HOST is reachable from other machines, and no token is known",
                "set SERINUS_TOKENS_FILE, or listen on 127.0.0.1",
            )


def bearer_sha256(header: str | None) -> str | None:
    """SHA-256 (hex) of the token in an Authorization header, None when there is none.

    A token is 32 random bytes, which nobody finds by trying; so one round of SHA-256 keeps it as well as a slow hash
    would, and looking the hash up tells nothing by the time that it takes: whoever guesses does not choose its hash."""
    match = BEARER.fullmatch(header or "")
    return hashlib.sha256(match[1].encode()).hexdigest() if match else None


def authenticate(session: Session, header: str | None, allowed: frozenset[Role], now: float) -> Caller:
    """The sender of a request with this Authorization header. An admin may do everything. `now`: Unix seconds.

    While no token is known (only on loopback) everybody is admin. Raises Unauthenticated, NotAllowed."""
    digest = bearer_sha256(header)
    token = None if digest is None else session.scalars(select(Token).where(Token.sha256 == digest)).one_or_none()
    if token is None:
        if not session.scalar(select(func.count()).select_from(Token)):
            return Caller(name="anybody", role="admin")
        if digest is None:
            raise Unauthenticated("expected the header `Authorization: Bearer TOKEN`")
        raise Unauthenticated("this token is not known, or no longer")
    if token.expires_at is not None and token.expires_at <= now:
        raise Unauthenticated(f"token {token.name!r} has expired", "ask an admin for a new one (`serinus token`)")
    caller = Caller.model_validate({"name": token.name, "role": token.role, "expires_at": token.expires_at})
    if caller.role != "admin" and caller.role not in allowed:
        raise NotAllowed(f"token {caller.name!r} has role {caller.role}; this needs {' or '.join(sorted(allowed))}")
    return caller
