"""What keeps shadow scoring from costing those anything who wait for answers: rate, share of a CPU, priority."""

from __future__ import annotations

import asyncio
import os
import time

LOWEST_NICENESS = 19
LONGEST_PAUSE_S = 1.0


class TokenBucket:
    """`take(count)`: whether so many may pass now. `rate` a second in the long run, one second's worth at once.

    A request with more rows than that passes when the bucket is full, and the bucket stays empty for as long."""

    def __init__(self, rate: float) -> None:
        self._rate = self._tokens = rate
        self._at = time.monotonic()

    def take(self, count: int) -> bool:
        now = time.monotonic()
        self._tokens = min(self._rate, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < min(count, self._rate):
            return False
        self._tokens -= count
        return True


class Throttle:
    """`async with throttle:` around work on the event loop: one at a time, and `share` of a CPU at most in all.

    After each piece of work comes the pause that it has cost; whoever sends more finds its queue growing."""

    def __init__(self, share: float) -> None:
        self._pause = 1 / share - 1
        self._lock = asyncio.Lock()
        self._began = 0.0

    async def __aenter__(self) -> None:
        await self._lock.acquire()
        self._began = time.thread_time()

    async def __aexit__(self, *_: object) -> None:
        pause_s = min(LONGEST_PAUSE_S, (time.thread_time() - self._began) * self._pause)
        asyncio.get_running_loop().call_later(pause_s, self._lock.release)


def yield_the_cpu() -> None:
    """Run every thread of this process, and those that it will start, only when nobody else wants the CPU.

    SCHED_IDLE: a thread of any other policy that wakes up takes the CPU at once, and keeps 99.7 % of it."""
    for name in os.listdir("/proc/self/task"):
        thread = int(name)
        try:
            os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))
        except OSError:  # a sandbox may forbid it; or the thread has ended
            try:
                os.setpriority(os.PRIO_PROCESS, thread, LOWEST_NICENESS)
            except ProcessLookupError:
                continue
