"""The thread that follows a file of tokens: they rotate without a restart."""

from __future__ import annotations

import hashlib
import logging
import threading
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from controller.database import Database
from controller.tokens import ensure_tokens
from serinus.errors import SerinusError

__all__ = ["TokensFile"]

log = logging.getLogger(__name__)
EVERY_S = 2.0


class TokensFile:
    """What the file says wrongly changes nothing: the tokens before stay good, and the log says what is wrong, once.

    The first look takes the file whatever was read at the start: it may have changed since. None in place of a path:
    there is no file, and nothing to do."""

    def __init__(self, db: Database, path: Path | None) -> None:
        self.db, self.path = db, path
        self._known = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="tokens", daemon=True)

    def look(self) -> None:
        """Raises SQLAlchemyError when the database does not answer: the next look tries again."""
        digest = self._digest()
        if self.path is None or digest in {"", self._known}:
            return
        try:
            ensure_tokens(self.db, self.path)
            log.info("the tokens of %s are in force", self.path)
        except SerinusError as error:
            log.error("tokens stay as they were: %s", error.detail)
        self._known = digest

    def start(self) -> None:
        if self.path is not None:
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _digest(self) -> str:
        """Of what is in the file; "" while it cannot be read, as between two links that Kubernetes puts there."""
        try:
            return hashlib.sha256(self.path.read_bytes()).hexdigest() if self.path is not None else ""
        except OSError:
            return ""

    def _loop(self) -> None:
        while not self._stop.wait(EVERY_S):
            try:
                self.look()
            except SQLAlchemyError as error:
                log.warning("tokens: it waits for the database: %s", str(error).splitlines()[0])
            except Exception:  # who revokes a token relies on this thread
                log.exception("the tokens of %s could not be taken", self.path)
