"""Waking those who wait for a change."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress

__all__ = ["Bell"]


class Bell:
    """Rung from any thread, heard in one event loop. A key wakes those who wait for it; "" wakes everybody.

    Read `count` (or `rung`) before you look, then wait for it to change: nothing that happens meanwhile is missed."""

    def __init__(self) -> None:
        self.closed = False
        self.woken = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._all = 0
        self._counts: Counter[str] = Counter()
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}

    @property
    def rung(self) -> int:
        """How often it was rung, whatever for."""
        return self.count("")

    def count(self, key: str) -> int:
        """How often it was rung for this key, or for everybody."""
        return self._counts[key] if not key else self._counts[key] + self._all

    def hang(self) -> None:
        """Belong to the running loop."""
        self._loop = asyncio.get_running_loop()

    def ring(self, key: str = "") -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop was closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._ring, key)

    def close(self) -> None:
        """Let everybody go, now and in future. Call it in the loop."""
        self.closed = True
        self._ring("")

    def _ring(self, key: str) -> None:
        self._counts[""] += 1
        if key:
            self._counts[key] += 1
        else:
            self._all += 1
        for each in (key, "") if key else list(self._waiting):
            for future in list(self._waiting.get(each, ())):
                if not future.done():
                    self.woken += 1
                    future.set_result(None)

    def hear(self, key: str = "") -> asyncio.Future[None]:
        """Is done when the bell rings for the key the next time ("": for anybody). Cancel it to wait no longer."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, set()).add(future)
        future.add_done_callback(lambda _: self._leave(key, future))
        return future

    def _leave(self, key: str, future: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.discard(future)
            if not waiting:
                del self._waiting[key]

    async def wait(self, rung: int, timeout_s: float, key: str = "") -> bool:
        """True as soon as it has rung more than `rung` times for the key; False after `timeout_s`."""
        if self.count(key) != rung or self.closed:
            return True
        with suppress(TimeoutError):
            await asyncio.wait_for(self.hear(key), timeout_s)
        return self.count(key) != rung
