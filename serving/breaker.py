"""A head that keeps failing is left alone for a while; then one run, that nobody waits for, sees whether it is well."""

from __future__ import annotations

import threading
from typing import Literal

TRIPS_AFTER = 5
STARVED_WEIGHT = 0.2
"""Of a run that was late but had no CPU time to be in time: it may be the machine."""
REST_NS, LONGEST_REST_NS = 1_000_000_000, 16_000_000_000


class Breaker:
    """Closed until 5 failures in a row, then open; each probe that fails doubles the rest, 1 s to 16 s.

    Times are given, in ns of any steady clock. `failed`, `succeeded` and `probed` may come from any thread."""

    __slots__ = ("_failures", "_lock", "_probing", "_rest_ns", "_until", "closed", "opened")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0.0
        self._until = self.opened = 0
        self._rest_ns, self._probing = REST_NS, False
        self.closed = True

    @property
    def state(self) -> Literal["closed", "open", "half_open"]:
        return "closed" if self.closed else "half_open" if self._probing else "open"

    def succeeded(self) -> None:
        self._failures = 0.0

    def starved(self, now_ns: int) -> None:
        self.failed(now_ns, STARVED_WEIGHT)

    def failed(self, now_ns: int, weight: float = 1.0) -> None:
        with self._lock:
            self._failures += weight
            if self.closed and self._failures >= TRIPS_AFTER:
                self.closed, self._until, self.opened = False, now_ns + self._rest_ns, self.opened + 1

    def wants_probe(self, now_ns: int) -> bool:
        """Whether the caller is to start a probe now; whoever is told so must call `probed` once."""
        if self.closed or self._probing or now_ns < self._until:
            return False
        with self._lock:
            wanted = not (self.closed or self._probing)
            self._probing = self._probing or wanted
            return wanted

    def probed(self, well: bool, now_ns: int) -> None:
        """A probe has ended: close, or rest twice as long."""
        with self._lock:
            self._probing = False
            if well:
                self.closed, self._failures, self._rest_ns = True, 0.0, REST_NS
            else:
                self._rest_ns = min(2 * self._rest_ns, LONGEST_REST_NS)
                self._until = now_ns + self._rest_ns
