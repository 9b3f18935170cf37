"""Writes that carry an Idempotency-Key happen at most once, also when they are sent again, and also when a controller
dies in their midst: the key is marked in the transaction that carries the write out."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from controller.database import Database
from controller.tables import OnceRow
from serinus.errors import KeyReused, Stale

__all__ = ["Answer", "Carrying", "Claim", "Claims"]

KEPT_S = 86_400.0
LEASE_S = 60.0
"""A write that takes longer may be taken over by its repetition; the first of both to commit is the one that counts."""
MOST_ROWS = 100_000
SWEEP_EVERY_S = 60.0

_current: ContextVar[Claim | None] = ContextVar("idempotency", default=None)


@dataclass(frozen=True, slots=True)
class Answer:
    """`headers`: the few that belong to the answer itself."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Claim:
    """The right to carry a write out, once."""

    scope: str
    key: str
    owner: str = field(default_factory=lambda: uuid.uuid4().hex)


class Claims:
    """`clock`: wall time, Unix seconds."""

    def __init__(self, db: Database, clock: Callable[[], float]) -> None:
        self._db, self._clock = db, clock
        self._swept_at = float("-inf")
        db.before_commit = _mark

    def claim(self, scope: str, key: str, request: str) -> Claim | Answer | None:
        """The right to carry this request out; the answer that it got already; None: somebody is at it, ask later.

        Raises KeyReused for another request, Stale when it was carried out but its answer is lost."""
        now, mine = self._clock(), Claim(scope, key)
        told = {"request": request, "owner": mine.owner, "lease_until": now + LEASE_S, "created_at": now}
        try:
            with self._db.write() as session:
                self._sweep(session, now)
                row = session.get(OnceRow, (scope, key), with_for_update=True)
                if row is not None and row.created_at > now - KEPT_S:
                    return self._known(row, mine, request, now)
                if row is not None:
                    session.delete(row)
                    session.flush()
                session.add(OnceRow(scope=scope, key=key, state="open", **told))
        except IntegrityError:  # somebody else was a moment faster
            return None
        return mine

    def _known(self, row: OnceRow, mine: Claim, request: str, now: float) -> Claim | Answer | None:
        if row.request != request:
            raise KeyReused(f"this Idempotency-Key came with another request less than {KEPT_S / 3600:g} h ago")
        if row.state == "answered" and row.status is not None:
            return Answer(row.status, row.headers or {}, row.body or b"")
        if row.lease_until > now:
            return None
        if row.state != "open":
            raise Stale("this write was carried out already, its answer is lost", "read what there is by now")
        row.owner, row.lease_until = mine.owner, now + LEASE_S
        return mine

    def settle(self, claim: Claim, answer: Answer | None) -> None:
        """Keep the answer for whoever asks again. A request that failed and changed nothing may be made again, under
        its key. None: there is no answer that can be kept. What was committed, the database knows best."""
        mine = (OnceRow.scope == claim.scope, OnceRow.key == claim.key, OnceRow.owner == claim.owner)
        with self._db.write() as session:
            state = session.scalar(select(OnceRow.state).where(*mine).with_for_update())
            if state == "open" and (answer is None or answer.status >= 300):
                session.execute(delete(OnceRow).where(*mine))
            elif answer is None or answer.status >= 500:
                session.execute(update(OnceRow).where(*mine).values(state="carried_out", lease_until=0.0))
            else:
                kept = {"status": answer.status, "headers": answer.headers, "body": answer.body}
                session.execute(update(OnceRow).where(*mine).values(state="answered", **kept))

    def _sweep(self, session: Session, now: float) -> None:
        if now - self._swept_at < SWEEP_EVERY_S:
            return
        self._swept_at = now
        session.execute(delete(OnceRow).where(OnceRow.created_at <= now - KEPT_S))
        oldest = select(OnceRow.created_at).order_by(OnceRow.created_at.desc()).offset(MOST_ROWS).limit(1)
        if (limit := session.scalar(oldest)) is not None:
            session.execute(delete(OnceRow).where(OnceRow.created_at <= limit))


class Carrying:
    """While it lasts, every transaction of this context belongs to the claim."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim

    def __enter__(self) -> None:
        self._token = _current.set(self._claim)

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)


def _mark(session: Session) -> None:
    """Before a commit: the key is carried out in the very transaction; who lost it meanwhile changes nothing."""
    claim = _current.get()
    if claim is None:
        return
    mine = (OnceRow.scope == claim.scope, OnceRow.key == claim.key, OnceRow.owner == claim.owner)
    done = session.execute(update(OnceRow).where(*mine).values(state="carried_out"))
    if not done.rowcount:  # type: ignore[attr-defined]  # of an update
        raise Stale("this request was sent again meanwhile, and is carried out there")
