"""Where every request comes in: whose token is it, may it do this, and has it not asked too often."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.requests import HTTPConnection

from controller.auth import PEOPLE, Caller, Role, authenticate, bearer_sha256
from controller.database import Database
from controller.last_used import LastUsed
from controller.limits import Buckets, origin
from serinus.errors import Unauthenticated

__all__ = ["Door"]

FAILED_PER_S, FAILED_BURST = 0.5, 20.0
RECALL_S, MOST_RECENT = 2.0, 1_000

Key = tuple[str | None, frozenset[Role]]
"""SHA-256 of a token, and who may come in."""


class Door:
    """`clock`: wall time, Unix seconds. `people`: what each token of a person may ask for; processes are not limited,
    for nothing may come between them and a new route table."""

    def __init__(self, db: Database, clock: Callable[[], float]) -> None:
        self.db, self.clock = db, clock
        self.people = Buckets(200.0, 1000.0)
        self.failed = Buckets(FAILED_PER_S, FAILED_BURST)
        self.last_used = LastUsed(db)
        self._recent: dict[Key, tuple[float, Caller]] = {}

    def recall(self, request: HTTPConnection, allowed: frozenset[Role]) -> Caller | None:
        """Who sent it, without asking the database, where the same token was good within the last RECALL_S.

        For what is asked a thousand times a minute; a revoked token is good so much longer there. None: `enter`."""
        found = self._recent.get(_key(request, allowed))
        if found is None or time.monotonic() - found[0] > RECALL_S:
            return None
        ends = found[1].expires_at
        return found[1] if ends is None or ends > self.clock() else None

    def enter(self, request: HTTPConnection, allowed: frozenset[Role]) -> Caller:
        """Who sent it. Raises Unauthenticated, NotAllowed; RateLimited for a token that asks too often, and for an
        address that has shown too many tokens that are none: a good token is good from there all the same."""
        now = self.clock()
        try:
            with self.db.read() as session:
                caller = authenticate(session, request.headers.get("authorization"), allowed, now)
        except Unauthenticated:
            where = origin(request.client.host if request.client else None)
            self.failed.take(where, time.monotonic(), "tokens from your address that are not known")
            raise
        if caller.role in PEOPLE:
            self.people.take(caller.name, time.monotonic(), f"requests with token {caller.name!r}")
        if len(self._recent) >= MOST_RECENT:
            self._recent.clear()
        self._recent[_key(request, allowed)] = (time.monotonic(), caller)
        self.last_used.note(caller.name, now)
        return caller


def _key(request: HTTPConnection, allowed: frozenset[Role]) -> Key:
    return bearer_sha256(request.headers.get("authorization")), allowed
