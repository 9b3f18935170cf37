"""Waking those who wait for a newer route table."""

from __future__ import annotations

import asyncio
from contextlib import suppress

__all__ = ["Bell"]


class Bell:
    """Rung from any thread, heard in one event loop. Read `rung` before you look, then wait for it to change."""

    def __init__(self) -> None:
        self.rung = 0
        self.closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event = asyncio.Event()

    def hang(self) -> None:
        """Belong to the running loop."""
        self._loop = asyncio.get_running_loop()

    def ring(self) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop was closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._ring)

    def close(self) -> None:
        """Let everybody go, now and in future. Call it in the loop."""
        self.closed = True
        self._ring()

    def _ring(self) -> None:
        self.rung += 1
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, rung: int, timeout_s: float) -> bool:
        """True as soon as the bell has rung more than `rung` times; False after `timeout_s`."""
        if self.rung != rung or self.closed:
            return True
        with suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), timeout_s)
        return self.rung != rung
