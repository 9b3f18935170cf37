"""Tokens: those of the file, and those that admins make and revoke."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError
from sqlalchemy import delete, func, select, text
from sqlalchemy.orm import Session

from controller.audit import audit
from controller.auth import Role
from controller.database import Database
from controller.tables import Token
from serinus.errors import BadInput, NotFound, Stale
from serinus.tasks import Word

__all__ = ["ensure_tokens", "make_token", "revoke_token"]

TOKENS_LOCK = 0x5E51_0009
"""Advisory lock of PostgreSQL: who counts admins, or replaces the file's tokens, is alone."""
MOST_TOKENS = 10_000


class KnownToken(Word):
    name: Annotated[str, Field(min_length=1, max_length=128)]
    role: Role
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def ensure_tokens(db: Database, path: Path) -> None:
    """Make the tokens of the file, a JSON list of {"name", "role", "sha256"}, the ones of the file that are known.

    A token that is no longer in the file is no longer good; those that the API made stay. Raises BadInput when the
    file is not such a list, or has a name or a token that the API gave out already."""
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
        _alone(session)
        before = {row.sha256: row for row in session.scalars(select(Token).where(Token.source == "file"))}
        used = {digest: (row.created_at, row.last_used_at) for digest, row in before.items()}
        session.execute(delete(Token).where(Token.source == "file"))
        for row in session.scalars(select(Token)):
            if any(row.name == token.name or row.sha256 == token.sha256 for token in tokens):
                raise BadInput(f"SERINUS_TOKENS_FILE {path}: token {row.name!r} was made by the API already")
        for token in tokens:
            created_at, last_used_at = used.get(token.sha256, (None, None))
            kept = {"created_at": created_at, "last_used_at": last_used_at}
            session.add(Token(**token.model_dump(), source="file", created_by=path.name, **kept))


def make_token(session: Session, name: str, role: Role, *, expires_at: float | None, actor: str, now: float) -> str:
    """Make a token; it is given here and never again. Raises Stale for a name that is taken, and BadInput when it is
    the first of all and no admin's for ever: nobody could make the next."""
    _alone(session)
    if session.get(Token, name) is not None:
        raise Stale(f"there is a token {name!r} already", "choose another name, or revoke that one first")
    known = session.scalar(select(func.count()).select_from(Token)) or 0
    if known >= MOST_TOKENS:
        raise BadInput(f"there are {MOST_TOKENS} tokens", "revoke those that nobody uses")
    if not known and (role != "admin" or expires_at is not None):
        raise BadInput("the first token must be an admin's that does not expire", "nobody could make the next")
    token = secrets.token_urlsafe(32)
    told = {"sha256": hashlib.sha256(token.encode()).hexdigest(), "created_by": actor, "created_at": now}
    session.add(Token(name=name, role=role, source="api", expires_at=expires_at, **told))
    detail = {"role": role, "expires_at": expires_at}
    audit(session, actor=actor, action="token.make", subject=f"tokens/{name}", detail=detail, now=now)
    return token


def revoke_token(session: Session, name: str, *, actor: str, now: float) -> None:
    """From the commit on the token opens nothing. Raises NotFound; Stale when it is one of the file, or when no admin
    would be left whose token does not expire."""
    _alone(session)
    row = session.get(Token, name)
    if row is None:
        raise NotFound(f"there is no token {name!r}", "`serinus token list` has those that are known")
    if row.source == "file":
        raise Stale(f"token {name!r} is one of SERINUS_TOKENS_FILE", "take it out of the file")
    lasting = select(Token.name).where(Token.role == "admin", Token.expires_at.is_(None), Token.name != name)
    if row.role == "admin" and session.scalar(lasting.limit(1)) is None:
        raise Stale("it is the last token of an admin that does not expire", "make another one first")
    session.delete(row)
    audit(session, actor=actor, action="token.revoke", subject=f"tokens/{name}", detail={"role": row.role}, now=now)


def _alone(session: Session) -> None:
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("select pg_advisory_xact_lock(:key)"), {"key": TOKENS_LOCK})
