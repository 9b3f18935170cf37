"""A run of the open-loop client, as a test sees it: conditions while it goes on, and what came of it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from tests.faults.load import Outcome, Plan
from tests.pool.stack import wait_for

LOAD = Path(__file__).with_name("load.py")


class Run:
    """`outcomes`: every request that came to an end, in the order of their ends."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.outcomes = plan, list[Outcome]()
        self._process = subprocess.Popen(
            [sys.executable, "-S", str(LOAD), json.dumps(asdict(plan))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.outcomes.append(Outcome(**json.loads(line)))

    def more(self, requests: int, where: Callable[[Outcome], bool] = lambda o: o.good, within_s: float = 60.0) -> None:
        """Wait until so many more requests have ended that are as `where` says (well, if nothing is said)."""
        first = len(self.outcomes)
        try:
            wait_for(lambda: sum(map(where, self.outcomes[first:])) >= requests or self._ended(), within_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.why()}") from error

    def _ended(self) -> bool:
        assert self._process.poll() is None, f"the client ended with {self._process.returncode}"
        return False

    def stop(self) -> None:
        """No further request; returns when the last one has ended."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(self.plan.timeout_s + self.plan.retry_s + 30.0)
        finally:
            self._process.kill()
            self._reader.join(10.0)

    @property
    def failed(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if not outcome.good]

    @property
    def answered(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.good]

    def why(self) -> str:
        """What failed, by its words, with the time of the first and the last."""
        words = Counter(f"{o.status} {o.words}" for o in self.failed)
        times = sorted(o.at_s for o in self.failed)
        span = f" between {times[0]:.2f} s and {times[-1]:.2f} s" if times else ""
        return f"{len(self.failed)} of {len(self.outcomes)} failed{span}: {dict(words.most_common(5))}"

    def ms(self, quantile: float, arms: tuple[str, ...] = ()) -> float:
        """A quantile of the time to answer, from when the request was due; `arms`: only of these."""
        times = sorted(o.ms for o in self.answered if not arms or o.arm in arms)
        return times[min(len(times) - 1, int(quantile * len(times)))] if times else float("nan")

    def summary(self) -> str:
        """One line of numbers."""
        own = max((o.late_ms for o in self.outcomes), default=0.0)
        near, canary = ("stable", "control"), ("canary",)
        parts = [
            f"{len(self.outcomes)} sent, {len(self.failed)} failed",
            f"stable p50 {self.ms(0.5, near):.1f} p99 {self.ms(0.99, near):.0f} ms",
            f"max {self.ms(1.0):.0f} ms (client late {own:.0f})",
        ]
        if any(o.arm == "canary" for o in self.answered):
            stood_in = sum(o.fallback == "stable" for o in self.answered)
            count = sum(o.arm == "canary" for o in self.answered)
            parts.append(f"canary {count}, of these stable answered {stood_in}, p99 {self.ms(0.99, canary):.0f} ms")
        return "; ".join(parts)


@contextlib.contextmanager
def running(plan: Plan) -> Iterator[Run]:
    """A run that has begun to be answered; stopped at the end."""
    run = Run(plan)
    try:
        run.more(20)
        yield run
    finally:
        run.stop()
