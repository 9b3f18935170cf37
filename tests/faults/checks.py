"""What every fault's test does and asks: load, replicas, the log, and what front doors say of themselves."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psutil

from tests.faults.load import Outcome, Plan
from tests.faults.run import Run, running
from tests.pool.processes import has_ended
from tests.pool.stack import Stack, wait_for

RATE = float(os.environ.get("SERINUS_FAULTS_RATE", "150"))
"""Requests a second."""


@contextlib.contextmanager
def load(stack: Stack, **plan: Any) -> Iterator[Run]:
    """The open-loop client on this pool, flowing."""
    with running(Plan(stack.ready["url"], **{"rate": RATE, **plan})) as run:
        yield run


def no_failure(stack: Stack, run: Run) -> None:
    """No request failed, and the rows of every answer are in the log once.

    Says how late the client itself was: if by hundreds of milliseconds, the machine had no room for this test."""
    assert run.failed == [], f"{run.why()}; {run.summary()}"
    recorded_once(stack, run.answered)


def recorded_once(stack: Stack, outcomes: list[Outcome], twice: int = 0) -> int:
    """Every answered id has its row (one a request), and no more than `twice` rows are there again.

    Returns how many are: a proxy's retry may run a request twice, and readers of the log count ids."""
    wanted = {uuid.UUID(outcome.id).bytes for outcome in outcomes}

    def rows() -> Counter[bytes]:
        return Counter(row.id for row in stack.predictions() if row.arm != "shadow" and row.id in wanted)

    wait_for(lambda: wanted <= rows().keys(), 20)
    again = sum(count - 1 for count in rows().values())
    assert again <= twice, f"{again} rows are in the log more than once"
    return again


def whole(stack: Stack) -> None:
    """Wait until every replica is there."""
    wait_for(lambda: [len(stack.replicas(n)) for n in ("FrontDoor", "Candidate", "Shadow")] == [2, 1, 1], 150)


def statuses(stack: Stack) -> list[dict[str, Any]]:
    """What both front doors say of themselves."""
    found: dict[str, dict[str, Any]] = {}

    def ask() -> bool:
        status = stack.http.get("/v1/serving/status").json()
        found[status["replica"]] = status
        return len(found) >= 2

    wait_for(ask)
    return list(found.values())


def later(seconds: float) -> float:
    return time.time() + seconds


def ended(process: psutil.Process, within_s: float = 20.0) -> None:
    """Wait until a process is gone."""
    wait_for(lambda: has_ended(process), within_s)
