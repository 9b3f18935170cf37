"""What one process knows of one head: how long it takes, whether it is well, how often something stood in for it."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

import onnxruntime as ort

from serinus.tasks import TaskSpec
from serving.breaker import Breaker
from serving.steps import Step
from serving.tally import HEAD_BUCKETS_NS, Timed

log = logging.getLogger(__name__)
Reason = Literal["overrun", "raised", "invalid", "breaker", "busy", "deadline", "upstream", "trunk"]
"""Why something stood in: the budget was over; the run raised; what it gave is no answer; the breaker was open; no
thread was free; the request's time was over; a head that it needs, or the trunk, gave nothing."""
THREADS_EACH = 2
"""How many threads one head may have at a time, those included that were given up."""
FIRST_PENALTY, LONGEST_PENALTY = 100, 100_000


class Head:
    """Inline (on the caller's thread) are heads that are expected to take less than half of their budget and were in
    time lately. One overrun, and it runs on other threads until it was quick 100 times, then 200 times, and so on."""

    def __init__(self, spec: TaskSpec) -> None:
        self.spec = spec
        self.breaker = Breaker()
        self.options: Any = ort.RunOptions()
        self.base_ns, self.row_ns = float("inf"), 0.0
        self.fallbacks: Counter[Reason] = Counter()
        self.times = Timed(HEAD_BUCKETS_NS)
        self.running: set[object] = set()
        self.abandoned = 0
        self._owes, self._penalty = 0, FIRST_PENALTY

    def measured(self, one_ns: int, many_ns: int, many: int) -> None:
        """It took so long for one row, and for `many`."""
        self.base_ns, self.row_ns = one_ns, max(0.0, (many_ns - one_ns) / (many - 1))

    def inline(self, rows: int, budget_ns: int) -> bool:
        return not self._owes and self.base_ns + self.row_ns * rows <= budget_ns / 2

    def demote(self) -> None:
        """It overran: the next times it has to show on other threads that it is quick."""
        self._owes, self._penalty = self._penalty, min(2 * self._penalty, LONGEST_PENALTY)

    def was_quick(self, rows: int, took_ns: int, budget_ns: int) -> None:
        """It was in time on another thread. What was measured on a busy moment is forgotten bit by bit."""
        if took_ns <= budget_ns / 2:
            self._owes = max(0, self._owes - 1)
            if took_ns < self.base_ns + self.row_ns * rows < float("inf"):
                self.base_ns, self.row_ns = 0.98 * self.base_ns, 0.98 * self.row_ns

    def fell(self, reason: Reason, error: Exception | None = None) -> None:
        """Count, and log the 1st, 2nd, 4th, 8th ... time."""
        self.fallbacks[reason] = count = self.fallbacks[reason] + 1
        if count & (count - 1) == 0:
            log.warning("head %s: %s, %d times by now%s", self.spec.name, reason, count, f": {error}" if error else "")

    def status(self) -> dict[str, Any]:
        return {
            "breaker": self.breaker.state,
            "opened": self.breaker.opened,
            "fallbacks": dict(self.fallbacks),
            "abandoned": self.abandoned,
            "running": len(self.running),
        }


@dataclass(frozen=True, slots=True)
class OwnSteps:
    """A head's part of a plan. `reads`: tensors that others give. `output`: the tensor of its answers.

    `needs`: tasks whose heads must have run before."""

    head: Head
    steps: tuple[Step, ...]
    reads: tuple[str, ...]
    output: str
    needs: tuple[str, ...] = field(default=())
