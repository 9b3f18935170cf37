"""Alternating rounds: everybody in turn, again and again, so that what the machine does beside us hits all alike."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import psutil

from benchmarks.load import Load, load
from benchmarks.processes import cpu_s

QUIET_CORES, SETTLE_S = 0.25, 5.0
beside_cores: list[float] = []
"""Of every measurement of this process: cores that neither the server nor the generator used, but others did."""


@dataclass
class Lane:
    """One server with what it is asked; `loads` and `cpu_s`: one a round (CPU seconds of the server's processes).

    `sleeps`: it may be stopped while another one is measured."""

    name: str
    port: int
    requests: Sequence[tuple[str, bytes]]
    processes: Sequence[psutil.Process] = ()
    sleeps: bool = False
    loads: list[Load] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(load.rate for load in self.loads)

    @property
    def p50_ms(self) -> float:
        return statistics.median(load.p50_us for load in self.loads) / 1000

    @property
    def p99_ms(self) -> float:
        return statistics.median(load.p99_us for load in self.loads) / 1000

    @property
    def errors(self) -> int:
        return sum(load.errors for load in self.loads)

    @property
    def cpu_us(self) -> float:
        """CPU microseconds a request, median of the rounds."""
        return statistics.median(
            cpu / max(load.requests, 1) for cpu, load in zip(self.cpu_s, self.loads, strict=True)
        ) * 1e6  # fmt: skip

    def times(self, other: Lane) -> float:
        """How many times the requests a second of another lane: the median over the rounds of their ratio."""
        pairs = zip(self.loads, other.loads, strict=True)
        return statistics.median(mine.rate / theirs.rate if theirs.rate else float("inf") for mine, theirs in pairs)


def measure(lanes: Sequence[Lane], connections: int, seconds: float, rounds: int) -> None:
    """Ask each lane in turn, `rounds` times; every round begins with another one."""
    for number in range(rounds):
        first = number % len(lanes)
        for lane in [*lanes[first:], *lanes[:first]]:
            with alone(lane, lanes) as awake:
                settle(awake)
                began, busy, before, own = time.monotonic(), _busy_s(), cpu_s(lane.processes), _own_s()
                lane.loads.append(load(lane.port, lane.requests, connections, seconds))
                lane.cpu_s.append(cpu_s(lane.processes) - before)
                beside = _busy_s() - busy - lane.cpu_s[-1] - (_own_s() - own)
                beside_cores.append(max(0.0, beside) / (time.monotonic() - began))


@contextlib.contextmanager
def alone(lane: Lane, lanes: Sequence[Lane]) -> Iterator[list[psutil.Process]]:
    """Stop the other servers meanwhile: idle ones take up to a third of a core together. Gives those that are awake."""
    mine = {process.pid for process in lane.processes}
    sleeping = {p.pid: p for other in lanes if other.sleeps for p in other.processes if p.pid not in mine}
    for process in sleeping.values():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        yield [process for each in lanes for process in each.processes if process.pid not in sleeping]
    finally:
        for process in sleeping.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


def _busy_s() -> float:
    """CPU seconds that all processors of the machine have been busy."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def _own_s() -> float:
    """CPU seconds of this process and of what it has started and waited for: the generator."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def settle(processes: Sequence[psutil.Process], within_s: float = SETTLE_S) -> None:
    """Until the servers have done what they do after a load (records, evidence), but not for ever."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        before, began = cpu_s(processes), time.monotonic()
        time.sleep(0.2)
        if cpu_s(processes) - before < QUIET_CORES * (time.monotonic() - began):
            return
