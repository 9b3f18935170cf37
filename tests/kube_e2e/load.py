"""An open-loop client without retries: requests leave at their times, whatever became of those before."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp

TIMEOUT_S = 5.0


@dataclass
class Load:
    """`url`: what is posted to, `body`: what is posted, `rate`: requests a second. Half of them open a connection of
    their own, half share kept ones."""

    url: str
    body: dict[str, Any]
    rate: float
    sent: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    first_failure_at: float = 0.0
    last_failure_at: float = 0.0

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(TIMEOUT_S + 10)

    @property
    def failed(self) -> int:
        return sum(self.failures.values())

    def told(self) -> str:
        """Failed of sent, the slowest answer, and between which times the failures lie."""
        kinds = ", ".join(f"{kind}: {count}" for kind, count in self.failures.items())
        span = f" within {self.last_failure_at - self.first_failure_at:.1f} s ({kinds})" if self.failed else ""
        return f"{self.failed} of {self.sent} requests failed{span}; slowest {self.slowest_s:.2f} s"

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        fresh = aiohttp.TCPConnector(force_close=True, limit=0)
        async with (
            aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as kept,
            aiohttp.ClientSession(timeout=timeout, connector=fresh) as new,
        ):
            began, waiting = time.monotonic(), set[asyncio.Task[None]]()
            while not self._stop.is_set():
                await asyncio.sleep(max(0.0, began + self.sent / self.rate - time.monotonic()))
                task = asyncio.create_task(self._one(new if self.sent % 2 else kept))
                waiting.add(task)
                task.add_done_callback(waiting.discard)
                self.sent += 1
            await asyncio.gather(*waiting)

    async def _one(self, session: aiohttp.ClientSession) -> None:
        began = time.monotonic()
        try:
            async with session.post(self.url, json=self.body) as answer:
                await answer.read()
                why = "" if answer.status < 300 else str(answer.status)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            why = type(error).__name__
        now = time.monotonic()
        self.slowest_s = max(self.slowest_s, now - began)
        if why:
            self.failures[why] += 1
            self.first_failure_at = self.first_failure_at or now
            self.last_failure_at = now
