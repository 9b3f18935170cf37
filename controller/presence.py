"""Replicas that say nothing new: that they are still there is kept in memory and written together."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from controller.database import Database
from controller.replicas import GRACE_S, gone, record, renew, said
from serinus.routes import WatchRequest

__all__ = ["Presence"]

log = logging.getLogger(__name__)
FLUSH_S = 2.0
"""Wall seconds for which a renewal or an end may wait. A replica counts for GRACE_S beyond its poll: far longer."""
APPLIED_S = 0.1
"""Wall seconds for which a newly applied route table may wait: many replicas apply it at once, and people watch."""

Key = tuple[str, str]
"""Pool, replica."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a replica said last, here, and until when it counts."""

    request: WatchRequest
    at: float
    expires_at: float


class Presence:
    """`record` writes at once what says something new, and else notes it; a thread writes the notes.

    With a thousand replicas that poll it is one transaction a second instead of forty. Thread-safe. `clock`: wall
    time, Unix seconds."""

    def __init__(self, db: Database, clock: Callable[[], float]) -> None:
        self.db, self.clock = db, clock
        self._seen: dict[Key, Seen] = {}
        self._renewed: dict[Key, Seen] = {}
        self._gone: dict[Key, float] = {}
        self._lock = threading.Lock()
        self._noted, self._applied, self._stop = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._loop, name="presence", daemon=True)

    def note(self, pool: str, request: WatchRequest) -> float | None:
        """Until when the replica counts, when nothing needs to be written now; None: call `record`."""
        now, key = self.clock(), (pool, request.report.replica)
        with self._lock:
            seen = self._seen.get(key)
            if seen is None or seen.expires_at <= now or key in self._gone:
                return None
            report = request.report
            if report.number < seen.request.report.number or said(report) != said(seen.request.report):
                return None
            expires_at = max(now + request.wait_s + GRACE_S, seen.expires_at)
            if report.applied != seen.request.report.applied:
                self._applied.set()
            self._seen[key] = self._renewed[key] = Seen(request, now, expires_at)
        self._noted.set()
        return expires_at

    def record(self, pool: str, request: WatchRequest) -> float:
        """Write the report; until when it counts is returned."""
        now, key = self.clock(), (pool, request.report.replica)
        with self.db.write() as session:
            expires_at = record(session, pool, request, now)
        with self._lock:
            seen = self._seen.get(key)
            if seen is None or seen.request.report.number <= request.report.number:
                self._seen[key] = Seen(request, now, expires_at)
                self._renewed.pop(key, None)
            self._gone.pop(key, None)
        return expires_at

    def gone(self, pool: str, replica: str, expires_at: float) -> None:
        """The connection of its poll broke: soon it no longer counts, unless a later poll let it count for longer."""
        with self._lock:
            self._gone[pool, replica] = expires_at
        self._noted.set()

    def flush(self) -> None:
        """Write what was noted; what cannot be written waits for the next time."""
        with self._lock:
            renewed, self._renewed = self._renewed, {}
            ended, self._gone = self._gone, {}
            for key, expires_at in ended.items():
                seen = self._seen.get(key)
                if seen is not None and seen.expires_at <= expires_at:
                    del self._seen[key]
            now = self.clock()
            for key in [key for key, seen in self._seen.items() if seen.expires_at <= now]:
                del self._seen[key]
        if not renewed and not ended:
            return
        try:
            with self.db.write() as session:
                renew(session, [(pool, each.request, each.at, each.expires_at) for (pool, _), each in renewed.items()])
                for (pool, replica), expires_at in ended.items():
                    gone(session, pool, replica, expires_at, now)
        except SQLAlchemyError:
            with self._lock:
                self._renewed = {**renewed, **self._renewed}
                self._gone = {**ended, **self._gone}
            raise

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._noted.set()
        self._applied.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _loop(self) -> None:
        while not self._stop.is_set():
            self._noted.wait()
            self._noted.clear()
            if self._applied.wait(FLUSH_S):
                self._stop.wait(APPLIED_S)
            self._applied.clear()
            try:
                self.flush()
            except SQLAlchemyError as error:
                log.warning("what replicas said waits to be written: %s", str(error).splitlines()[0])
                self._noted.set()
            except Exception:
                log.exception("what replicas said could not be written")
