"""When a rollout may go on: times of the week in a time zone, and freezes.

windows:
  zone: Europe/Berlin
  open:
    - {days: [mon, tue, wed, thu], start: "09:00", end: "16:00"}
    - {days: [fri], start: "09:00", end: "12:00"}
  freezes:
    - {start: 2026-12-18T00:00:00Z, end: 2027-01-04T00:00:00Z, reason: holidays}

Outside of them no share grows and nothing is promoted; a rollback needs no window."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime, Field

from serinus.tasks import Word

__all__ = ["Freeze", "Window", "Windows", "closed"]

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
AHEAD = 1_000
"""So many closings in a row are looked through for the next opening."""


class Window(Word):
    """From `start` to `end`, local times (HH:MM), on these days; an end of 24:00 is the next midnight.

    An end that is not after its start lies on the next day."""

    days: Annotated[tuple[Day, ...], Field(min_length=1, max_length=7)] = DAYS
    start: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = "00:00"
    end: Annotated[str, Field(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$")] = "24:00"


class Freeze(Word):
    """Nothing goes on from `start` up to `end` (instants, with an offset), whatever the windows say."""

    start: AwareDatetime
    end: AwareDatetime
    reason: Annotated[str, Field(max_length=200)] = ""

    def model_post_init(self, _context: Any, /) -> None:
        if self.end <= self.start:
            raise ValueError("a freeze must end after it starts")


class Windows(Word):
    """`open`: empty: always. `zone`: of the windows, by its IANA name."""

    zone: Annotated[str, Field(max_length=64)] = "UTC"
    open: Annotated[tuple[Window, ...], Field(max_length=50)] = ()
    freezes: Annotated[tuple[Freeze, ...], Field(max_length=100)] = ()

    def model_post_init(self, _context: Any, /) -> None:
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"zone: {self.zone!r} is no time zone; expected one like Europe/Berlin or UTC") from error


def closed(windows: tuple[Windows | None, ...], now: float) -> str:
    """Why nothing may go on now, and until when; "" when all of the windows are open. `now`: Unix seconds."""
    known = [each for each in windows if each is not None]
    at = datetime.fromtimestamp(now, UTC)
    shut = [found for each in known if (found := _shut(each, at))]
    if not shut:
        return ""
    why = shut[0][1]
    for _ in range(AHEAD):
        until = max(until for until, _ in shut)
        shut = [found for each in known if (found := _shut(each, until))]
        if not shut:
            return f"{until.astimezone(ZoneInfo(known[0].zone)):%Y-%m-%d %H:%M %Z}: {why}"
    return f"nobody knows when, for no window opens: {why}"


def _shut(windows: Windows, at: datetime) -> tuple[datetime, str] | None:
    """(Until when at least, why), or None when it is open at that instant."""
    for freeze in windows.freezes:
        if freeze.start <= at < freeze.end:
            return freeze.end, f"a freeze{': ' if freeze.reason else ''}{freeze.reason}"
    if not windows.open:
        return None
    spans = _spans(windows, at)
    if any(start <= at < end for start, end in spans):
        return None
    ahead = (start for start, _ in spans if start > at)
    return min(ahead, default=at + timedelta(days=7)), "outside of the windows"


def _spans(windows: Windows, at: datetime) -> list[tuple[datetime, datetime]]:
    """The windows around an instant, in UTC: those that began the day before, and all of the week ahead."""
    zone = ZoneInfo(windows.zone)
    today = at.astimezone(zone).date()
    spans = []
    for ahead in range(-1, 9):
        day = today + timedelta(days=ahead)
        for window in windows.open:
            if DAYS[day.weekday()] not in window.days:
                continue
            start = datetime.combine(day, time.fromisoformat(window.start), zone)
            whole = window.end == "24:00"
            later = whole or window.end <= window.start
            last = time() if whole else time.fromisoformat(window.end)
            end = datetime.combine(day + timedelta(days=later), last, zone)
            if (span := (start.astimezone(UTC), end.astimezone(UTC)))[0] < span[1]:
                spans.append(span)
    return spans
