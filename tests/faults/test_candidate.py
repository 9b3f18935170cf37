"""A candidate may do what it likes: no request fails, none is lost from the log, and stable answers in its place."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from tests.faults.checks import later, load, no_failure, statuses, whole
from tests.faults.conftest import VERSIONS
from tests.faults.load import Outcome
from tests.faults.run import Run
from tests.pool.stack import Stack

Seen = Callable[[str], None]
SHARES = pytest.mark.parametrize("share", [100, 5_000])
"""1 %: asked in a process of its own. 50 %: the front door runs it."""
ODD = {"odd": 400.0, "odd_every": 1}


def canary(stack: Stack, share: int, kind: str = "") -> None:
    """Route that share to the candidate of this kind."""
    version = next(number for number, name in VERSIONS.items() if name == kind)
    both = {"late": version, "cancelled": version}
    stack.route(candidate=both, canary_bp=share, expires_at=later(600), rollout="r", salt="s")


def stood_in(outcome: Outcome) -> bool:
    return outcome.arm == "canary" and outcome.fallback == "stable"


def its_own(outcome: Outcome) -> bool:
    return outcome.arm == "canary" and not outcome.fallback


@contextlib.contextmanager
def stopped(process: psutil.Process) -> Iterator[None]:
    """SIGSTOP: it hangs, with all its connections open."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGCONT)


def finish(stack: Stack, run: Run, seen: Seen) -> None:
    seen(run.summary())
    no_failure(stack, run)


@pytest.mark.parametrize("share", [1_000, 5_000])  # at 1 % another one may be there before anybody asks
def test_its_process_is_killed(stack: Stack, seen: Seen, share: int) -> None:
    canary(stack, share)
    with load(stack) as run:
        run.more(3, its_own)
        stack.replicas("Candidate")[0].kill()
        run.more(3, stood_in if share <= 1_000 else its_own)
        whole(stack)
        run.more(3, its_own)
    finish(stack, run, seen)


@pytest.mark.parametrize("share", [100, 1_000, 5_000])
def test_its_process_hangs(stack: Stack, seen: Seen, share: int) -> None:
    canary(stack, share)
    with load(stack) as run:
        run.more(3, its_own)
        with stopped(stack.replicas("Candidate")[0]):
            if share <= 1_000:
                run.more(40 if share == 1_000 else 5, stood_in)
                doors = [door["candidate"] for door in statuses(stack)]
            else:
                run.more(100, its_own)  # nobody asked that process
        run.more(3, its_own)
    finish(stack, run, seen)
    if share <= 1_000:
        assert max(door["most_in_flight"] for door in doors) <= doors[0]["limit"]
    if share == 1_000:
        assert [door["opened"] > 0 for door in doors] == [True, True]


@SHARES
@pytest.mark.parametrize("kind", ["slow", "raising", "nan"])
def test_its_graphs_misbehave(stack: Stack, seen: Seen, share: int, kind: str) -> None:
    canary(stack, share, kind)
    with load(stack) as run:
        run.more(3, its_own)
    no_failure(stack, run)
    with load(stack, **ODD) as run:
        run.more(8 if share == 100 else 200, lambda o: o.arm == "canary")
    finish(stack, run, seen)
    assert not any(its_own(outcome) for outcome in run.answered if outcome.at_s > 0.5)


def test_it_was_never_deployed(stack: Stack, seen: Seen, packages: dict[int, Any]) -> None:
    """A table that names a package which is not there never comes into force: the last one goes on."""
    lost = packages[2].model_copy(update={"digest": "0" * 64, "uri": packages[2].uri + "-lost"})
    table = stack.controller.tables["flights"]
    with load(stack) as run:
        stack.epoch += 1
        both = {"late": 9, "cancelled": 9}
        more = {"epoch": stack.epoch, "candidate": both, "canary_bp": 5_000, "expires_at": later(600)}
        stack.controller.put(table.model_copy(update={**more, "packages": {**table.packages, 9: lost}}))
        run.more(200)
    finish(stack, run, seen)
    assert {outcome.version for outcome in run.answered} == {1}


@SHARES
def test_it_is_replaced_and_taken_back(stack: Stack, seen: Seen, share: int) -> None:
    with load(stack) as run:
        for kind in ("", "slow", "raising"):
            canary(stack, share, kind)
            run.more(3, its_own)
        stack.route()
        run.more(50)
    finish(stack, run, seen)
    assert run.answered[-1].arm == "stable"
