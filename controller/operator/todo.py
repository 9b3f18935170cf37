"""What is to be looked at, and when: each object by one worker at a time, again after a while, later when it fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Todo"]

K = TypeVar("K", bound=Hashable)
FIRST_S, LONGEST_S = 1.0, 60.0


class Todo(Generic[K]):
    """A key that is added while a worker has it comes again once that is done. Of one event loop."""

    def __init__(self) -> None:
        self._due: dict[K, float] = {}
        self._taken: set[K] = set()
        self._failures: dict[K, int] = {}
        self._changed = asyncio.Event()

    def add(self, key: K, after_s: float = 0.0) -> None:
        """Due after so long, or earlier where it is so already."""
        due = time.monotonic() + after_s
        self._due[key] = min(due, self._due.get(key, due))
        self._changed.set()

    async def take(self) -> K:
        """The next one that is due, and that nobody has; waits for it."""
        while True:
            now = time.monotonic()
            free = [(due, at) for at, (key, due) in enumerate(self._due.items()) if key not in self._taken]
            if free and min(free)[0] <= now:
                key = list(self._due)[min(free)[1]]
                del self._due[key]
                self._taken.add(key)
                return key
            self._changed.clear()
            try:
                async with asyncio.timeout(min(free)[0] - now if free else None):
                    await self._changed.wait()
            except TimeoutError:
                pass

    def done(self, key: K, again_s: float | None = None) -> None:
        """It went well; `again_s`: None: only when somebody adds it."""
        self._taken.discard(key)
        self._failures.pop(key, None)
        self._changed.set()
        if again_s is not None:
            self.add(key, again_s)

    def failed(self, key: K) -> None:
        """Again after a second, then two, then four, at most a minute."""
        self._taken.discard(key)
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        self._changed.set()
        self.add(key, min(LONGEST_S, FIRST_S * 2 ** min(failures - 1, 6)))
