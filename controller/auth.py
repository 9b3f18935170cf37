"""Who may do what: bearer tokens, known only by their SHA-256, each with one role."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from controller.database import Database
from controller.tables import Token
from serinus.errors import BadInput, NotAllowed, Unauthenticated
from serinus.tasks import Word

__all__ = ["PEOPLE", "Caller", "Role", "authenticate", "ensure_tokens", "require_tokens"]

Role = Literal["viewer", "engineer", "operator", "admin", "replica", "monitor"]
PEOPLE: tuple[Role, ...] = ("viewer", "engineer", "operator", "admin")
"""Each may do what those before it may. `replica` and `monitor` are processes: they call what is theirs alone."""
BEARER = re.compile(r"Bearer +([\x21-\x7e]{1,512}) *", re.IGNORECASE)


class KnownToken(Word):
    name: Annotated[str, Field(min_length=1, max_length=128)]
    role: Role
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Caller(Word):
    """Who sent a request."""

    name: str
    role: Role


def ensure_tokens(db: Database, path: Path) -> None:
    """Make the tokens of the file, a JSON list of {"name", "role", "sha256"}, the ones that are known.

    A token that is no longer in the file is no longer good. Raises BadInput when the file is not such a list."""
    try:
        tokens = TypeAdapter(list[KnownToken]).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise BadInput(
            f'SERINUS_TOKENS_FILE {path}: expected JSON [{{"name", "role", "sha256"}}]: {str(error).splitlines()[0]}'
        ) from error
    if not tokens:
        raise BadInput(f"SERINUS_TOKENS_FILE {path} lists no token", "list one at least, or do not set the variable")
    if len({token.name for token in tokens}) < len(tokens) or len({token.sha256 for token in tokens}) < len(tokens):
        raise BadInput(f"SERINUS_TOKENS_FILE {path}: a name or a token is in it twice")
    with db.write() as session:
        session.execute(delete(Token))
        session.add_all(Token(name=token.name, role=token.role, sha256=token.sha256) for token in tokens)


def require_tokens(db: Database, loopback: bool) -> None:
    """Raise BadInput when everybody in the network could use an API without tokens."""
    with db.read() as session:
        if not loopback and not session.scalar(select(func.count()).select_from(Token)):
            raise BadInput(
                "SERINUS_CONTROLLER_HOST is reachable from other machines, and no token is known",
                "set SERINUS_TOKENS_FILE, or listen on 127.0.0.1",
            )


def authenticate(session: Session, header: str | None, allowed: frozenset[Role]) -> Caller:
    """The sender of a request with this Authorization header. An admin may do everything.

    While no token is known (only on loopback) everybody is admin. Raises Unauthenticated, NotAllowed."""
    if not session.scalar(select(func.count()).select_from(Token)):
        return Caller(name="anybody", role="admin")
    match = BEARER.fullmatch(header or "")
    if match is None:
        raise Unauthenticated("expected the header `Authorization: Bearer TOKEN`")
    digest = hashlib.sha256(match[1].encode()).hexdigest()
    token = session.scalars(select(Token).where(Token.sha256 == digest)).one_or_none()
    if token is None:
        raise Unauthenticated("this token is not known, or no longer")
    caller = Caller.model_validate({"name": token.name, "role": token.role})
    if caller.role != "admin" and caller.role not in allowed:
        raise NotAllowed(f"token {caller.name!r} has role {caller.role}; this needs {' or '.join(sorted(allowed))}")
    return caller
