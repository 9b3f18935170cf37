"""What other controllers on the same PostgreSQL have changed: heard within milliseconds, on a connection of its own."""

from __future__ import annotations

import logging
import threading
from contextlib import closing
from typing import Any, get_args

from controller.database import CHANNEL, Database, Wake

__all__ = ["Listening"]

log = logging.getLogger(__name__)
LOOK_S = 0.5
"""How often the thread looks whether it is to end."""
ALIVE_S = 10.0
"""How often the connection is tried when nothing comes."""
RETRY_S = 1.0


class Listening:
    """A thread that passes notifications on to the database's listeners. Nothing to do for SQLite.

    While `deaf`, changes of others are not told: they are found by looking (the reconciler does)."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.deaf = True
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="listening", daemon=True)

    def start(self) -> None:
        if not self.db.sqlite:
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _loop(self) -> None:
        said = ""
        while not self._stop.is_set():
            try:
                self._listen()
                said = ""
            except Exception as error:  # whatever it is: changes are still found by looking, only later
                why = str(error).strip().split("\n")[0]
                if why != said:
                    log.warning("changes of other controllers are not told: %s", why)
                said = why
            self.deaf = True
            self._stop.wait(RETRY_S)

    def _listen(self) -> None:
        """Until the connection breaks, or `stop`."""
        pooled = self.db.engine.raw_connection()
        raw: Any = pooled.driver_connection
        pooled.detach()
        with closing(raw):
            raw.autocommit = True
            raw.execute(f"listen {CHANNEL}")
            self.deaf = False
            self.db.tell(get_args(Wake))  # whatever was missed
            silent_s = 0.0
            while not self._stop.is_set():
                heard = [note.payload for note in raw.notifies(timeout=LOOK_S, stop_after=1)]
                silent_s = 0.0 if heard else silent_s + LOOK_S
                for payload in heard:
                    origin, *told = payload.split(" ")
                    if origin != self.db.origin:
                        self.db.tell(told)
                if silent_s >= ALIVE_S:
                    raw.execute("select 1")
                    silent_s = 0.0
