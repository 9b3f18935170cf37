"""What one process of serving counts for Prometheus: plain numbers in memory, nothing shared, nothing locked.

Used from one event loop. A count costs a lookup and an addition; who shows the numbers adds up all processes."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from serinus.metrics import FAST_BUCKETS_S, HEAD_BUCKETS_S
from serving.ask import Output

__all__ = ["Tally", "Timed"]

Labels = tuple[str, ...]
HEAD_BUCKETS_NS = tuple(int(bound * 1e9) for bound in HEAD_BUCKETS_S)
FAST_BUCKETS_NS = tuple(int(bound * 1e9) for bound in FAST_BUCKETS_S)


class Timed:
    """A histogram. `counts`: how many took at most each bound (and more than the one before); the last: longer.

    `latest`: place in `counts` -> the last request there: its id, what it took, when that was (Unix seconds), and its
    trace, if any. Of a place where requests were traced it is the last of these: a trace says more than an id."""

    __slots__ = ("bounds_ns", "counts", "latest", "sum_ns")

    def __init__(self, bounds_ns: tuple[int, ...]) -> None:
        self.bounds_ns = bounds_ns
        self.counts = [0] * (len(bounds_ns) + 1)
        self.sum_ns = 0
        self.latest: dict[int, tuple[UUID, int, float, str]] = {}

    def took(self, ns: int, request: UUID | None = None, trace: str = "") -> None:
        """`request`: an example that is worth to be kept; `trace`: id of its trace."""
        place = bisect_left(self.bounds_ns, ns)
        self.counts[place] += 1
        self.sum_ns += ns
        if request is not None and (trace or place not in self.latest or not self.latest[place][3]):
            self.latest[place] = request, ns, time.time(), trace


class Tally:
    """Counts by family and labels, in the order in which `serinus.metrics` declares them.

    `on`: whether anybody will ask; else nothing is counted."""

    def __init__(self, *, on: bool = True) -> None:
        self.on = on
        self.counts: dict[tuple[str, Labels], int] = {}
        self.times: dict[tuple[str, Labels], list[Timed]] = {}
        self.others: dict[tuple[str, Labels], list[Counter[Any]]] = {}
        self._requests: dict[tuple[str, str], Timed] = {}

    def add(self, name: str, labels: Labels, count: int = 1) -> None:
        if self.on:
            key = (name, labels)
            self.counts[key] = self.counts.get(key, 0) + count

    def answered(
        self,
        model: str,
        arm: str,
        took_ns: int,
        rows: int,
        outputs: Iterable[Output],
        *,
        request: UUID | None = None,
        trace: str = "",
    ) -> None:
        """One request that was answered, by these versions; where something stood in, by what.

        `request`: its id; `trace`: that of its trace, if it has one."""
        if not self.on:
            return
        timed = self._requests.get((model, arm))
        if timed is None:
            timed = self._requests[model, arm] = Timed(FAST_BUCKETS_NS)
            self.adopt("serinus_request_duration_seconds", (model, arm), timed)
        timed.took(took_ns, request, trace)
        self.add("serinus_requests_total", (model, arm, "ok"))
        self.scored(model, arm, rows, outputs)

    def scored(self, model: str, arm: str, rows: int, outputs: Iterable[Output]) -> None:
        """Rows that were given scores, whoever will see them."""
        versions = set()
        for output in outputs:
            versions.add(output.version)
            if output.fallback:
                reason = "candidate" if output.fallback == "stable" else output.fallback
                self.add("serinus_head_fallbacks_total", (model, output.task, arm, reason), rows)
        for version in versions:
            self.add("serinus_rows_total", (model, arm, str(version)), rows)

    def refused(self, model: str, status: int) -> None:
        """A request that got an error in place of an answer, by its HTTP status."""
        result = {503: "shed", 504: "timeout"}.get(status, "invalid" if status < 500 else "error")
        self.add("serinus_requests_total", (model, "stable", result))

    def adopt(self, name: str, labels: Labels, timed: Timed) -> None:
        """A histogram that somebody else fills. It stays, so that the sum never falls."""
        held = self.times.setdefault((name, labels), [])
        if not any(each is timed for each in held):
            held.append(timed)

    def adopt_counts(self, name: str, labels: Labels, counts: Counter[Any]) -> None:
        """Counts by a last label that somebody else makes; `labels`: those before it. They stay too."""
        held = self.others.setdefault((name, labels), [])
        if not any(each is counts for each in held):
            held.append(counts)

    def samples(self) -> dict[str, Any]:
        """For JSON: `counts` as [name, labels, value], `times` as [name, labels, counts, seconds, examples], an
        example as [place in counts, request id, seconds, Unix seconds, trace id or ""]."""
        return {
            "counts": [
                *([name, labels, value] for (name, labels), value in self.counts.items()),
                *([name, (*labels, last), value]
                  for (name, labels), held in self.others.items()
                  for last, value in sum(held, Counter[Any]()).items()),
            ],
            "times": [
                [name, labels, [sum(each) for each in zip(*(t.counts for t in held), strict=True)],
                 sum(t.sum_ns for t in held) / 1e9,
                 [[at, str(request), ns / 1e9, *rest] for t in held for at, (request, ns, *rest) in t.latest.items()]]
                for (name, labels), held in self.times.items()
            ],
        }  # fmt: skip
