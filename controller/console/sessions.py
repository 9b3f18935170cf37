"""Who is logged in: a session in the database, known to a browser by a cookie; and codes that make one, once."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from controller.auth import PEOPLE, Caller, authenticate, bearer_sha256
from controller.tables import ConsoleCode, ConsoleSession, Token
from serinus.errors import Unauthenticated

__all__ = ["CODE_S", "SESSION_S", "begin", "caller_of", "csrf_of", "end", "make_code", "open_to_all", "redeem"]

SESSION_S, CODE_S = 12 * 3600.0, 60.0
"""How long a log-in lasts, a working day; and a code. Seconds of wall time."""


def open_to_all(session: Session) -> bool:
    """True while no token is known: then everybody is admin, as in the API (only on loopback)."""
    return not session.scalar(select(func.count()).select_from(Token))


def begin(session: Session, token: str, now: float) -> str:
    """Log in with a person's token: the secret of the new session, for the cookie alone.

    Raises Unauthenticated, NotAllowed (tokens of processes have no use for pages)."""
    header = f"Bearer {token}"
    if (digest := bearer_sha256(header)) is None:
        raise Unauthenticated("this is no token", "paste it without spaces before, after or in it")
    authenticate(session, header, frozenset(PEOPLE), now)
    return _session(session, digest, now)


def make_code(session: Session, header: str | None, now: float) -> str:
    """A code for whoever sent this Authorization header, good once within `CODE_S`."""
    code = secrets.token_urlsafe(32)
    session.execute(delete(ConsoleCode).where(ConsoleCode.expires_at <= now))
    session.add(ConsoleCode(secret=_hash(code), token=bearer_sha256(header) or "", expires_at=now + CODE_S))
    return code


def redeem(session: Session, code: str, now: float) -> str:
    """The secret of a new session, in exchange for the code. Raises Unauthenticated."""
    row = session.scalars(
        delete(ConsoleCode).where(ConsoleCode.secret == _hash(code)).returning(ConsoleCode)
    ).one_or_none()
    if row is None or row.expires_at <= now:
        raise Unauthenticated("this link was used already, or is older than a minute", "ask for another one")
    secret = _session(session, row.token, now)
    if not open_to_all(session) and caller_of(session, secret, now) is None:
        raise Unauthenticated("the token of this link is no longer known", "ask for another one")
    return secret


def caller_of(session: Session, secret: str | None, now: float) -> Caller | None:
    """Whose session it is; None when it is none, when it has expired, or when its token is no longer good."""
    if open_to_all(session):
        return Caller(name="anybody", role="admin")
    if secret is None:
        return None
    row = session.get(ConsoleSession, _hash(secret))
    if row is None or row.expires_at <= now:
        return None
    token = session.scalars(select(Token).where(Token.sha256 == row.token)).one_or_none()
    if token is None or token.role not in PEOPLE or (token.expires_at is not None and token.expires_at <= now):
        return None
    return Caller.model_validate({"name": token.name, "role": token.role, "expires_at": token.expires_at})


def end(session: Session, secret: str) -> None:
    session.execute(delete(ConsoleSession).where(ConsoleSession.secret == _hash(secret)))


def csrf_of(secret: str) -> str:
    """What every form of a session carries. Whoever sees a page's form cannot tell the cookie by it."""
    return hmac.new(secret.encode(), b"serinus console form", hashlib.sha256).hexdigest()


def _session(session: Session, token: str, now: float) -> str:
    secret = secrets.token_urlsafe(32)
    session.execute(delete(ConsoleSession).where(ConsoleSession.expires_at <= now))
    session.add(ConsoleSession(secret=_hash(secret), token=token, created_at=now, expires_at=now + SESSION_S))
    session.flush()
    return secret


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
