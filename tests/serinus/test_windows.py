"""When a rollout may go on: local times, changes of the clock, freezes, several calendars at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from serinus.windows import DAYS, Windows, closed

WORK = {"days": ["mon", "tue", "wed", "thu", "fri"], "start": "09:00", "end": "16:00"}
BERLIN = Windows.model_validate({"zone": "Europe/Berlin", "open": [WORK]})


def at(text: str, zone: str = "Europe/Berlin") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("when", "says"),
    [
        ("2026-11-23 09:00", ""),
        ("2026-11-23 15:59:59", ""),
        ("2026-11-23 08:59:59", "2026-11-23 09:00 CET"),
        ("2026-11-23 16:00", "2026-11-24 09:00 CET"),
        ("2026-11-27 16:00", "2026-11-30 09:00 CET"),
        ("2026-03-28 12:00", "2026-03-30 09:00 CEST"),  # over the night in which the clock is put forward
    ],
)
def test_a_window_is_of_local_time_from_its_start_up_to_its_end(when: str, says: str) -> None:
    assert closed((BERLIN,), at(when)) == (f"{says}: outside of the windows" if says else "")


def test_nothing_said_is_always_open() -> None:
    assert closed((None, Windows()), 0.0) == ""


def test_a_window_may_go_over_midnight() -> None:
    night = Windows.model_validate({"open": [{"days": ["sat"], "start": "22:00", "end": "04:00"}]})
    assert closed((night,), at("2026-11-22 03:59", "UTC")) == ""  # a Sunday
    assert closed((night,), at("2026-11-22 04:00", "UTC")).startswith("2026-11-28 22:00 UTC")
    assert closed((night,), at("2026-11-21 03:00", "UTC")).startswith("2026-11-21 22:00 UTC")


def test_a_freeze_wins_over_a_window_and_ends_at_the_next_one() -> None:
    freeze = {"start": "2026-11-23T00:00:00Z", "end": "2026-11-28T00:00:00Z", "reason": "a fair"}
    frozen = BERLIN.model_copy(update={"freezes": Windows.model_validate({"freezes": [freeze]}).freezes})
    assert closed((frozen,), at("2026-11-23 10:00")) == "2026-11-30 09:00 CET: a freeze: a fair"


def test_all_calendars_must_be_open() -> None:
    late = Windows.model_validate({"zone": "Europe/Berlin", "open": [{"days": ["wed"], "start": "15:00"}]})
    assert closed((BERLIN, late), at("2026-11-23 10:00")).startswith("2026-11-25 15:00 CET")
    never = Windows.model_validate({"zone": "Europe/Berlin", "open": [{"days": ["sun"]}]})
    assert "nobody knows" in closed((BERLIN, never), at("2026-11-23 10:00"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"zone": "Mars/Base"},
        {"zone": "../etc/passwd"},
        {"open": [{"start": "25:00"}]},
        {"open": [{"days": []}]},
        {"freezes": [{"start": "2026-11-28T00:00:00Z", "end": "2026-11-23T00:00:00Z"}]},
        {"freezes": [{"start": "2026-11-23T00:00:00", "end": "2026-11-28T00:00:00Z"}]},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Windows.model_validate(wrong)


clock = st.integers(0, 24 * 60 - 1).map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")
windows = st.builds(
    lambda zone, days, start, end: Windows.model_validate(
        {"zone": zone, "open": [{"days": sorted(days), "start": start, "end": end}]}
    ),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    st.sets(st.sampled_from(DAYS), min_size=1),
    clock,
    clock,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(windows, st.integers(1_750_000_000, 1_850_000_000))
def test_it_agrees_with_reading_the_local_clock(made: Windows, now: int) -> None:
    (window,) = made.open
    local = datetime.fromtimestamp(now, UTC).astimezone(ZoneInfo(made.zone))
    changes = {(local + timedelta(hours=h)).utcoffset() for h in range(-48, 49, 3)}
    if len(changes) > 1:
        return  # around a change of the clock the naive reading below is not the rule
    told = f"{local:%H:%M}"
    today, before = DAYS[local.weekday()], DAYS[local.weekday() - 1]
    if window.end > window.start:
        is_open = today in window.days and window.start <= told < window.end
    else:
        is_open = (today in window.days and told >= window.start) or (before in window.days and told < window.end)
    assert (closed((made,), float(now)) == "") == is_open
