"""The thread that delivers notices: whatever a target does, rollouts do not wait for it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
from sqlalchemy.exc import SQLAlchemyError

from controller.database import Database
from controller.notify import outbox
from controller.notify.formats import post
from controller.notify.outbox import Letter
from controller.notify.targets import Settings, read_settings
from serinus.errors import SerinusError

__all__ = ["Sender"]

log = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log each address, and that of Slack is a secret
EVERY_S = 1.0
TIMEOUT_S = 10.0
"""For one letter, however slowly its target answers; after so long a target gets no further letter in a round."""
SILENT = "the target did not answer the one before"


class Sender:
    """Wakes on `nudge`, else every EVERY_S. `path`: the targets; None: nobody is told. `clock`: wall time, Unix s.

    Any number of controllers may run one on the same database: each letter is sent by the one that claimed it."""

    def __init__(self, db: Database, path: Path | None, clock: Callable[[], float]) -> None:
        self.db, self.path, self.clock = db, path, clock
        self.settings = read_settings(path) if path else Settings()
        self._read_at = _changed_at(path)
        self._awake, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._loop, name="sender", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def nudge(self) -> None:
        self._awake.set()

    def stop(self) -> None:
        """What is being sent is waited for; the rest is sent by the next one."""
        self._stop.set()
        self._awake.set()
        if self._thread.is_alive():
            self._thread.join(2 * TIMEOUT_S + 1)

    def round(self) -> int:
        """Send what is due: how many letters were tried."""
        self._refresh()
        with self.db.read() as session:
            if not outbox.waiting(session, self.clock()):
                return 0
        with self.db.write() as session:
            outbox.route(session, self.settings.targets, self.clock())
            session.flush()
            letters = outbox.claim(session, self.clock())
        if letters:
            asyncio.run(self._deliver(letters))
        return len(letters)

    def _loop(self) -> None:
        while not self._stop.is_set():
            try:
                self.round()
            except SQLAlchemyError as error:
                log.warning("notices wait, for the database does not answer: %s", str(error).splitlines()[0])
            except Exception:
                log.exception("a round of notices failed")
            self._awake.wait(EVERY_S)
            self._awake.clear()

    async def _deliver(self, letters: Sequence[Letter]) -> None:
        """All targets at once, the letters of each one after the other."""
        of: dict[str, list[Letter]] = defaultdict(list)
        for letter in letters:
            of[letter.target].append(letter)
        async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as http:
            await asyncio.gather(*(self._deliver_to(http, each) for each in of.values()))

    async def _deliver_to(self, http: httpx.AsyncClient, letters: Sequence[Letter]) -> None:
        """What a slow target had no time for waits behind what waits for others; a silent one is not asked again."""
        until, silent = asyncio.get_running_loop().time() + TIMEOUT_S, False
        for at, letter in enumerate(letters):
            if at and asyncio.get_running_loop().time() >= until and not silent:
                await asyncio.to_thread(self._put_back, letters[at:])
                return
            why, silent = (SILENT, True) if silent else await self._try(http, letter)
            await asyncio.to_thread(self._note, letter, why)

    def _put_back(self, letters: Sequence[Letter]) -> None:
        with self.db.write() as session:
            outbox.put_back(session, letters, self.clock())

    def _note(self, letter: Letter, why: str) -> None:
        now = self.clock()
        with self.db.write() as session:
            if why:
                log.warning("notice %d did not reach %s: %s", letter.number, letter.target, why)
                outbox.failed(session, letter, why, now)
            else:
                outbox.delivered(session, letter, now)

    async def _try(self, http: httpx.AsyncClient, letter: Letter) -> tuple[str, bool]:
        """Why it was not taken, "" when it was; and whether the target was silent. Never the address: it may be a
        secret."""
        target = next((t for t in self.settings.targets if t.name == letter.target), None)
        if target is None:
            return "there is no such target any more", False
        try:
            url, headers, body = post(target, letter.notice, letter.number, self.settings.console_url)
            async with (
                asyncio.timeout(TIMEOUT_S),  # httpx bounds only the time between two bytes
                http.stream("POST", url, headers=headers, content=body) as answer,  # its body is of no interest
            ):
                return ("" if answer.is_success else f"answered {answer.status_code}"), False
        except SerinusError as error:
            return error.detail, False
        except (httpx.TransportError, TimeoutError) as error:
            return type(error).__name__, True
        except Exception as error:  # an address or a secret that is none: of this letter, not of all
            return type(error).__name__, False

    def _refresh(self) -> None:
        """Read the file anew when it has changed; a faulty one changes nothing."""
        changed = _changed_at(self.path)
        if self.path is None or changed == self._read_at:
            return
        self._read_at = changed
        try:
            self.settings = read_settings(self.path)
        except SerinusError as error:
            log.error("%s; the targets stay as they were", error.detail)


def _changed_at(path: Path | None) -> int | None:
    try:
        return path.stat().st_mtime_ns if path else None
    except OSError:
        return None
