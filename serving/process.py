"""What the engines of one process share."""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass, field
from typing import Any

from serving.encoder_cache import EncoderCache
from serving.watchdog import Watchdog
from serving.workers import Workers


@dataclass(frozen=True)
class Process:
    """`turn`: requests run one at a time, on the event loop's thread; another thread that calls waits for it."""

    watchdog: Watchdog = field(default_factory=Watchdog)
    workers: Workers = field(default_factory=Workers)
    cache: EncoderCache = field(default_factory=EncoderCache)
    turn: threading.Lock = field(default_factory=threading.Lock)

    def status(self) -> dict[str, Any]:
        """Threads for heads, how many run now, runs that the watchdog ended; what the cache holds."""
        threads = {"threads": self.workers.threads, "busy": self.workers.busy, "ended": self.watchdog.fired}
        return {**threads, "cache": self.cache.status()}


@functools.cache
def process() -> Process:
    """This process's. Made when first needed: it starts a thread."""
    return Process()
