"""Ends runs of ONNX Runtime whose time is over, without a cost to those that are in time.

One thread sleeps on a Linux timerfd. It sets the terminate flag of a run's `RunOptions`, which ONNX Runtime reads
between the nodes of a graph, also within the body of a loop; a single long node cannot be ended. Arming the timer is
one system call of about 1 us, once a request; no thread wakes for a request that is in time.

Budgets are counted in the CPU time of the thread that runs: where the machine gives it none, its run is not ended, for
that would not bring the answer any sooner, and a healthy head would be blamed for its neighbours."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from typing import Any

CLOCK_MONOTONIC, TFD_CLOEXEC, TFD_TIMER_ABSTIME = 1, 0o2000000, 1
NEVER = 1 << 62
TICK_NS = 2_000_000
"""The timer is armed no further ahead than this: so the heads' shorter times need no second call after the trunk's."""

_libc = ctypes.PyDLL(None, use_errno=True)  # PyDLL keeps the GIL: these calls do not block
_libc.timerfd_settime.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]


ENOUGH = 0.8
"""Who had this share of a budget in CPU time, and is not done, has overrun it: the two clocks do not quite agree."""


class Watchdog:
    """Watches one run of the calling thread at a time (`begin`, `watch`, `release`); any number of others by `later`.

    Times are those of `time.perf_counter_ns`, which on Linux is CLOCK_MONOTONIC."""

    def __init__(self) -> None:
        self._timer = _libc.timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)
        if self._timer < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._setting = (ctypes.c_long * 4)()  # interval s, ns; first expiry s, ns
        self._address = ctypes.addressof(self._setting)
        self._lock = threading.Lock()
        self._options: Any = None
        self._until = self._deadline = self._armed = NEVER
        self._began = self._budget = self._began_all = self._cpu = self._thread = self._clock = 0
        self._fired = False
        self._others: list[tuple[int, Any]] = []
        self.fired = 0
        threading.Thread(target=self._keep_watching, name="watchdog", daemon=True).start()

    def begin(self) -> None:
        """This thread begins a request: one reading of its CPU clock, about 0.3 us, serves all that it runs."""
        if self._thread != (thread := threading.get_ident()):
            self._thread, self._clock = thread, time.pthread_getcpuclockid(thread)
        self._cpu, self._began_all = time.thread_time_ns(), time.perf_counter_ns()

    def used(self, began_ns: int) -> int:
        """At least so much CPU time was used since `began_ns`, ns: before it, at most all that went by."""
        return time.clock_gettime_ns(self._clock) - self._cpu - (began_ns - self._began_all)

    def watch(self, options: Any, now_ns: int, deadline_ns: int, budget_ns: int = NEVER) -> None:
        """From now until `release`, set `options.terminate` once the deadline has passed or the budget is used."""
        until_ns = min(now_ns + budget_ns, deadline_ns)
        with self._lock:
            self._options, self._until, self._fired = options, until_ns, False
            self._began, self._budget, self._deadline = now_ns, budget_ns, deadline_ns
            if until_ns < self._armed:
                self._arm(min(until_ns, now_ns + TICK_NS))

    def release(self) -> bool:
        """The run has ended. Returns whether its terminate flag was set; nobody sets it any more."""
        with self._lock:
            self._options = None
            return self._fired

    def rest(self) -> None:
        """Nothing will be watched for a while: disarm the timer."""
        with self._lock:
            if self._armed != NEVER and not self._others:
                self._arm(NEVER)

    def later(self, options: Any, until_ns: int) -> None:
        """Set `options.terminate` at `until_ns`, whether or not its run has ended."""
        with self._lock:
            self._others.append((until_ns, options))
            if until_ns < self._armed:
                self._arm(until_ns)

    def forget(self, options: Any) -> None:
        """The run of `later` has ended."""
        with self._lock:
            self._others = [other for other in self._others if other[1] is not options]

    def _arm(self, at_ns: int) -> None:
        self._armed = at_ns
        seconds, rest = (0, 0) if at_ns == NEVER else divmod(max(at_ns, 1), 1_000_000_000)
        self._setting[2], self._setting[3] = seconds, rest
        _libc.timerfd_settime(self._timer, TFD_TIMER_ABSTIME, self._address, None)

    def _keep_watching(self) -> None:
        while True:
            os.read(self._timer, 8)
            with self._lock:
                self._end_overdue()

    def _end_overdue(self) -> None:
        now = time.perf_counter_ns()
        if self._options is not None and self._until <= now:
            left = self._budget - self.used(self._began)
            if now >= self._deadline or left <= (1 - ENOUGH) * self._budget:
                self._options.terminate = self._fired = True
                self.fired += 1
                self._until = NEVER
            else:
                self._until = min(now + left, self._deadline)
        for until, options in self._others:
            if until <= now:
                options.terminate = True
        self._others = [(until, options) for until, options in self._others if until > now]
        running = self._until if self._options is not None else NEVER
        self._arm(min([running, *(until for until, _ in self._others)]))
