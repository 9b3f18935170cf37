"""What waits is counted before work begins; one too many is sent away at once; time is the caller's, within the SLA."""

from __future__ import annotations

import asyncio
import time

import pytest

from serinus.errors import Overloaded, TimedOut
from serinus.routes import ServingPolicy
from serving.load import MOST_WAITING, Load

POLICY = ServingPolicy(timeout_ms=1_000)


async def crowd(load: Load, count: int, policy: ServingPolicy = POLICY) -> tuple[int, int, list[int]]:
    """(Answered, sent away, how many waited when each began) of requests that arrive at once."""
    answered, waiting = 0, []

    async def one() -> bool:
        nonlocal answered
        try:
            await load.turn(time.perf_counter_ns(), policy)
        except Overloaded:
            return False
        waiting.append(load.waiting)
        answered += 1
        load.done()
        return True

    shed = (await asyncio.gather(*(one() for _ in range(count)))).count(False)
    return answered, shed, waiting


def test_all_that_have_arrived_are_counted_before_the_first_begins() -> None:
    answered, shed, waiting = asyncio.run(crowd(Load(), 40))
    assert (answered, shed) == (40, 0)
    assert waiting == list(range(39, -1, -1))


def test_beyond_the_bound_requests_are_sent_away() -> None:
    load = Load()
    answered, shed, _ = asyncio.run(crowd(load, MOST_WAITING + 88))
    assert (answered, shed) == (MOST_WAITING, 88)
    assert (load.waiting, load.status()["shed"]) == (0, 88)


def test_who_would_wait_longer_than_its_time_is_sent_away() -> None:
    load = Load()
    load.each_ns = 10_000_000.0
    answered, shed, _ = asyncio.run(crowd(load, 30, ServingPolicy(timeout_ms=100)))
    assert 9 <= answered <= 11
    assert answered + shed == 30


def test_a_request_alone_is_let_in_however_slow_those_before_were() -> None:
    load = Load()
    load.each_ns = 1e12
    assert asyncio.run(crowd(load, 1))[:2] == (1, 0)


def test_the_pace_is_learnt_even_from_one_at_a_time() -> None:
    load = Load()
    load.each_ns = 1e9  # so that nobody may wait

    async def some() -> None:
        for _ in range(200):  # these do no work
            assert (await crowd(load, 1))[0] == 1

    asyncio.run(some())
    assert load.each_ns < 1e8
    assert asyncio.run(crowd(load, 10))[:2] == (10, 0)


def test_a_request_that_was_cancelled_waits_no_more() -> None:
    async def cancelled() -> int:
        load = Load()
        task = asyncio.ensure_future(load.turn(time.perf_counter_ns(), POLICY))
        await asyncio.sleep(0)
        waiting = load.waiting
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return waiting - load.waiting

    assert asyncio.run(cancelled()) == 1


@pytest.mark.parametrize(
    ("timeout_us", "allowed_us"), [(None, 1_000_000), (20_000, 20_000), (60_000_000, 1_000_000), (1 << 70, 1_000_000)]
)
def test_a_caller_may_ask_for_less_time_only(timeout_us: int | None, allowed_us: int) -> None:
    arrived_ns = time.perf_counter_ns() + 10**12  # so that no test is slow enough to be late
    assert Load().deadline(arrived_ns, POLICY, timeout_us) == arrived_ns + allowed_us * 1000


def test_what_came_too_late_is_not_begun() -> None:
    load = Load()
    with pytest.raises(TimedOut, match="it may take 5000 us"):
        load.deadline(time.perf_counter_ns() - 6_000_000, POLICY, 5_000)
    assert load.status()["late"] == 1
