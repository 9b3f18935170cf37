"""When a token was last used: noted to the minute, beside the request, and never in its way."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from controller.database import Database
from controller.tables import Token

__all__ = ["LastUsed"]

log = logging.getLogger(__name__)
EVERY_S = 60.0
MOST_WAITING = 100


class LastUsed:
    """Writes at most once a minute and token, in a thread of its own. A database that cannot be written is no error."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._noted: dict[str, float] = {}
        self._waiting = 0
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, "last-used")

    def note(self, token: str, now: float) -> None:
        with self._lock:
            if now - self._noted.get(token, float("-inf")) < EVERY_S or self._waiting >= MOST_WAITING:
                return
            self._noted[token] = now
            self._waiting += 1
        try:
            self._thread.submit(self._write, token, now)
        except RuntimeError:  # it has been stopped
            return

    def _write(self, token: str, now: float) -> None:
        try:
            with self._db.write() as session:
                session.execute(update(Token).where(Token.name == token).values(last_used_at=now))
        except SQLAlchemyError as error:
            log.debug("when token %s was used could not be written: %s", token, error)
        finally:
            with self._lock:
                self._waiting -= 1

    def stop(self) -> None:
        """Wait for what is being written; nothing is noted afterwards."""
        self._thread.shutdown(wait=True, cancel_futures=True)
