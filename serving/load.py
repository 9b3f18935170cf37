"""What waits in this process, how long that will take, and whether one more request is let in.

A front door works on one event loop, mostly one request from its first byte to its last at a time. What has arrived
waits as tasks of the loop: each steps aside once before it begins, so that all that have arrived are counted first."""

from __future__ import annotations

import asyncio
import time

from serinus.errors import Overloaded, TimedOut
from serinus.routes import ServingPolicy
from serving.timeline import Stretch, current

MOST_WAITING = 512
SMOOTHING = 32
FIRST_GUESS_NS = 500_000.0
LONGEST_NS = 100_000_000
"""One pause of the process, however long, must not look like many slow requests."""


class Load:
    """`waiting`: requests that have arrived and not begun. `each_ns`: running mean of what one takes."""

    def __init__(self) -> None:
        self.waiting, self.shed, self.late = 0, 0, 0
        self.each_ns = FIRST_GUESS_NS
        self._last_ns = time.perf_counter_ns()

    async def turn(self, arrived_ns: int, policy: ServingPolicy) -> None:
        """Wait until those that came before have been answered. Raises Overloaded at once when there are too many.

        `arrived_ns`: on the clock of `time.perf_counter_ns`."""
        wait_ns = self.waiting * self.each_ns
        if self.waiting:
            left_ns = arrived_ns + policy.timeout_ms * 1_000_000 - time.perf_counter_ns()
            if self.waiting >= MOST_WAITING or wait_ns > left_ns:
                self.shed += 1
                raise Overloaded(f"{self.waiting} requests wait here, which takes {wait_ns / 1e6:.0f} ms")
        self.waiting += 1
        try:
            await asyncio.sleep(0)
        finally:
            self.waiting -= 1
        self._last_ns = time.perf_counter_ns()
        if (timeline := current.get()) is not None:
            timeline.stretches.append(Stretch("wait", arrived_ns, self._last_ns))

    def done(self) -> None:
        """A request was answered: what passed since another one was, or the last one began, is what one takes.

        So a request that waits for a candidate meanwhile does not look slow while others are answered."""
        now = time.perf_counter_ns()
        self.each_ns += (min(now - self._last_ns, LONGEST_NS) - self.each_ns) / SMOOTHING
        self._last_ns = now

    def deadline(self, arrived_ns: int, policy: ServingPolicy, timeout_us: int | None) -> int:
        """When the answer must be there: what the caller waits, at most what the model's SLA gives.

        Raises TimedOut when that has passed."""
        limit_us = policy.timeout_ms * 1000
        allowed_us = limit_us if timeout_us is None else min(timeout_us, limit_us)
        deadline_ns = arrived_ns + allowed_us * 1000
        if (now := time.perf_counter_ns()) >= deadline_ns:
            self.late += 1
            spent_us = (now - arrived_ns) // 1000
            raise TimedOut(f"{spent_us} us had passed before work on the request began; it may take {allowed_us} us")
        return deadline_ns

    def status(self) -> dict[str, float]:
        return {"waiting": self.waiting, "shed": self.shed, "late": self.late, "each_ms": self.each_ns / 1e6}
