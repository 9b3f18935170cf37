"""The wall clock steps back: ids stay unique, event times stay bounded, and no canary lives longer for it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from serinus.ids import event_ms_of, uuid7
from serinus.routes import PackageRef, RouteTable
from serving.applied import Applied
from serving.assignment import shares
from serving.event_times import EventTimes

HOUR_S = 3600.0


class Clock:
    """Wall and steady time in seconds; only the first one can be set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.steady = time.time(), time.monotonic()
        monkeypatch.setattr("serving.applied.time.time", lambda: self.wall)
        monkeypatch.setattr("serving.applied.time.monotonic", lambda: self.steady)

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def in_force(expires_at: float, **more: Any) -> Applied:
    table = {"model": "m", "epoch": 1, "stable": {"t": 1}, "candidate": {"t": 2}, "canary_bp": 50, "shadow_bp": 70}
    packages = {v: PackageRef(digest=str(v), uri="file:///x") for v in (1, 2)}
    return Applied(RouteTable.model_validate({**table, "packages": packages, "expires_at": expires_at, **more}), {}, {})


def test_a_canary_expires_when_its_time_has_passed_whatever_the_clock_says(clock: Clock) -> None:
    applied = in_force(clock.wall + 600)
    clock.passes(300)
    assert shares(applied.table, applied.now_s()) == (50, 70)
    clock.wall -= HOUR_S
    clock.passes(299)
    assert shares(applied.table, applied.now_s()) == (50, 70)
    clock.passes(2)
    assert shares(applied.table, applied.now_s()) == (0, 0)


def test_a_clock_that_is_set_right_again_takes_nothing_from_the_next_table(clock: Clock) -> None:
    clock.wall += 24 * HOUR_S  # wrong by a day
    expired = in_force(clock.wall - 24 * HOUR_S + 600)
    assert shares(expired.table, expired.now_s()) == (0, 0)
    clock.wall -= 24 * HOUR_S
    renewed = in_force(clock.wall + 600)
    assert shares(renewed.table, renewed.now_s()) == (50, 70)


def test_ids_of_one_moment_that_comes_again_and_again_are_unique() -> None:
    moment = 1_700_000_000_000
    ids = {uuid7(moment + step) for step in (2, 1, 0) for _ in range(20_000)}
    assert len(ids) == 60_000
    assert {event_ms_of(identity) for identity in ids} == {moment, moment + 1, moment + 2}


def test_what_came_before_the_step_is_taken_within_the_bound_and_refused_beyond_it() -> None:
    now_ms = 1_700_000_000_000
    before = now_ms + 4 * 60_000  # four minutes ahead of a clock that was set back
    EventTimes(now_ms, may_replay=False).check(before, "a label")
    with pytest.raises(ValueError, match="not within"):
        EventTimes(now_ms, may_replay=False).check(now_ms + 6 * 60_000, "a label")
