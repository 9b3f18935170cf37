"""Processes of the pool die, hang or are exchanged while requests come in."""

from __future__ import annotations

import contextlib
import itertools
import re
import signal
import time
from collections.abc import Callable

import psutil
import pytest

from tests.faults.checks import ended, later, load, no_failure, recorded_once, statuses, whole
from tests.faults.run import Run
from tests.pool.processes import command_lines, descendants
from tests.pool.stack import Stack, wait_for

Seen = Callable[[str], None]
IN_HANDS = 8
"""What a front door can have in its hands at these rates: each of them may fail when it is killed."""


def family(stack: Stack, words: str) -> list[psutil.Process]:
    """Processes of the pool whose command line or name has these words."""
    below = descendants(stack.process.pid)
    return [process for process, line in command_lines(below) if re.search(words, line)]


def in_place(stack: Stack) -> None:
    """Two front doors hold the table in force and both are sent requests."""
    whole(stack)
    wait_for(lambda: stack.applied_by("front") == [stack.epoch] * 2, 120)
    statuses(stack)


def outage_s(run: Run) -> float:
    """The longest time in which no request that was due was answered well."""
    good = sorted(outcome.at_s for outcome in run.answered)
    return max((b - a for a, b in itertools.pairwise(good)), default=0.0)


def test_a_front_door_is_killed(stack: Stack, seen: Seen) -> None:
    in_place(stack)
    with load(stack) as run:
        run.more(50)
        victim = stack.replicas("FrontDoor")[0]
        victim.kill()
        ended(victim)
        run.more(100)
        in_place(stack)
        run.more(50)
    seen(run.summary() + f"; {run.why()}")
    assert len(run.failed) <= IN_HANDS, run.why()
    again = recorded_once(stack, run.answered, twice=IN_HANDS)
    seen(f"{again} requests were run twice by a retry of the proxy")


def test_haproxy_is_killed(stack: Stack, seen: Seen) -> None:
    with load(stack) as once, load(stack, rate=30.0, retry_s=20.0) as patient:
        patient.more(20)
        (victim,) = [p for p in family(stack, r"haproxy") if p.name() == "haproxy"][:1]
        victim.kill()
        ended(victim)
        patient.more(60, lambda o: o.good and o.tries == 1)
        once.more(100)
    seen(f"{once.summary()}; {once.why()}; no answer for {outage_s(once):.1f} s")
    seen(f"a client that retries: {patient.summary()}, most tries {max(o.tries for o in patient.outcomes)}")
    no_failure(stack, patient)
    recorded_once(stack, once.answered, twice=IN_HANDS)
    assert outage_s(once) < 15.0  # 4 s on a machine of its own


def test_the_controller_of_ray_serve_is_killed(stack: Stack, seen: Seen) -> None:
    with load(stack) as run:
        (victim,) = family(stack, r"^ray::ServeController")
        victim.kill()
        ended(victim)
        run.more(200)
        wait_for(lambda: family(stack, r"^ray::ServeController"), 40)
        run.more(100)
    seen(run.summary())
    no_failure(stack, run)


def test_our_controller_is_gone_and_a_front_door_and_the_candidate_restart_meanwhile(stack: Stack, seen: Seen) -> None:
    """Tables come from disk; what is in force stays, but nobody is left in a canary that no one renews."""
    both = {"late": 2, "cancelled": 2}
    expires_at = later(12)
    stack.route(candidate=both, canary_bp=500, expires_at=expires_at, rollout="r")
    in_place(stack)
    stack.controller.stop()
    try:
        with load(stack) as run:
            run.more(5, lambda o: o.arm == "canary" and not o.fallback)
            for victim in (stack.replicas("FrontDoor")[0], stack.replicas("Candidate")[0]):
                victim.kill()
                ended(victim)
            whole(stack)
            wait_for(lambda: all(s["epochs"] == {"flights": stack.epoch} for s in statuses(stack)), 120)
            wait_for(lambda: time.time() > expires_at, 20)
            run.more(100, lambda o: o.arm == "stable")
    finally:
        stack.controller.start()
    seen(run.summary() + f"; {run.why()}")
    assert len(run.failed) <= IN_HANDS, run.why()
    recorded_once(stack, run.answered, twice=IN_HANDS)
    assert {o.arm for o in run.answered[-50:]} == {"stable"}
    stack.route(stable=both)  # and is followed again when it is back


def test_a_rolling_update_of_the_pool(stack: Stack, seen: Seen) -> None:
    before = {process.pid for process in stack.replicas()}
    with load(stack) as run:
        stack.process.send_signal(signal.SIGHUP)
        wait_for(lambda: not before & {process.pid for process in stack.replicas()}, 120)
        in_place(stack)
        run.more(50)
    seen(run.summary())
    no_failure(stack, run)


@pytest.mark.parametrize("moment", ["raylet", "ServeReplica:serinus"])
def test_sigterm_during_the_start(own_stack: Callable[..., Stack], moment: str) -> None:
    stack = own_stack(wait=False)
    wait_for(lambda: stack.process.poll() is not None or family(stack, moment), 60)
    processes = descendants(stack.process.pid)
    stack.process.send_signal(signal.SIGTERM)
    assert stack.process.wait(60) == 0
    _gone, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []
    assert not (stack.folder / "home" / "run").exists()


def test_a_front_door_hangs(stack: Stack, seen: Seen) -> None:
    """HAProxy's own questions find out, and the other one answers; what was in its hands comes too late."""
    in_place(stack)
    with load(stack) as run:
        run.more(50)
        victim = stack.replicas("FrontDoor")[0]
        victim.send_signal(signal.SIGSTOP)
        try:
            stopped_at = len(run.outcomes) / run.plan.rate
            run.more(int(run.plan.rate), lambda o: o.good and o.at_s > stopped_at + 4.0)
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):  # Ray Serve may have replaced it by now
                victim.send_signal(signal.SIGCONT)
        run.more(50)
    whole(stack)
    times = [outcome.at_s - stopped_at for outcome in run.failed]
    seen(f"{run.summary()}; {run.why()}; the last one {max(times, default=0):.1f} s after it hung")
    recorded_once(stack, run.answered, twice=len(run.outcomes))
    assert max(times, default=0) < 8.0, run.why()
