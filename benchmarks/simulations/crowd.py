"""Simulated traffic that is as awkward as the real one: users who come in bursts and whose taste lasts, hours and days
that move everybody's outcome, and models that err differently on each user, each hour and each day.

Baseline and candidate err by the same law, so that without `worse` and `scale` the true difference is exactly 0, and
yet within any days seen one of them is ahead by luck that all users share.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from monitors.rows import Exposed, Floats, Ints, Scored, Tick
from serinus.evidence import Stream
from serinus.sla import Sla

__all__ = ["HOUR_MS", "START_MS", "Crowd", "Drawn", "ticks"]

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
START_MS = 19_000 * DAY_MS
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Crowd:
    """`sessions`: per hour, of `burst` rows on average within one minute; `taste`: standard deviation of what lasts of
    a user; `shock`: of what an hour, and a day, does to all outcomes; `err`: of what a model makes of a user, an hour
    and a day, each; `noise`: of each score alone (all in logits). `worse`: noise more of the candidate's; `scale`:
    factor on its probabilities; `from_h`: hour from which on it is so; `failing`: share of sessions that fail, of the
    control and of the canary. `slices`: number of values of each slice; `only`: (slice, value) where it is worse."""

    hours: int = 48
    sessions: float = 30.0
    burst: float = 3.0
    users: int = 400
    base: float = -1.5
    taste: float = 0.7
    shock: float = 0.4
    err: float = 0.15
    noise: float = 0.4
    worse: float = 0.0
    scale: float = 1.0
    from_h: int = 0
    failing: tuple[float, float] = (0.01, 0.01)
    slices: tuple[int, ...] = ()
    only: tuple[int, int] | None = None

    def draw(self, seed: int, tasks: int = 1) -> Drawn:
        """One rollout's traffic, in the order of event time."""
        rng = np.random.default_rng(seed)
        busy = rng.lognormal(-0.08, 0.4, self.hours)
        hour = np.repeat(np.arange(self.hours), rng.poisson(self.sessions * busy))
        starts = START_MS + hour * HOUR_MS + rng.integers(0, 60, len(hour)) * 60_000
        size = rng.geometric(1 / self.burst, len(hour))
        user = rng.integers(0, self.users, len(hour))
        canary = user % 2 == 1
        failed = rng.random(len(hour)) < np.where(canary, self.failing[1], self.failing[0])
        at = np.repeat(np.arange(len(hour)), size)
        event_ms = starts[at] + rng.integers(0, 60_000, len(at))
        order = np.argsort(event_ms, kind="stable")
        at, event_ms = at[order], event_ms[order]
        user, hour = user[at], hour[at]
        where = np.stack([(user // 7**k) % n for k, n in enumerate(self.slices)], axis=1) if self.slices else None
        places = np.zeros((len(at), 0), np.int64) if where is None else where.astype(np.int64)
        bad = hour >= self.from_h
        if self.only is not None:
            bad &= places[:, self.only[0]] == self.only[1]
        told = [self._task(rng, user, hour, bad) for _ in range(tasks)]
        y, a, b = (np.stack([each[k] for each in told]) for k in range(3))
        return Drawn(event_ms, user.astype(np.uint64) * _MIX, y, a, b, places, canary[at], failed[at])

    def _task(
        self, rng: np.random.Generator, user: Ints, hour: Ints, bad: NDArray[np.bool_]
    ) -> tuple[Floats, Floats, Floats]:
        n, day, days = len(user), hour // 24, self.hours // 24 + 1
        feature = self.base + rng.normal(size=n) * 1.2
        moved = rng.normal(size=self.hours)[hour] + rng.normal(size=days)[day]
        truth = feature + rng.normal(size=self.users)[user] * self.taste + moved * self.shock
        y = (rng.random(n) < expit(truth)).astype(np.float64)
        sides = []
        for worse in (0.0, self.worse):
            err = rng.normal(size=self.users)[user] + rng.normal(size=self.hours)[hour] + rng.normal(size=days)[day]
            slope = 1 + self.err * rng.normal(size=days)[day]
            size = self.noise + np.where(bad, worse, 0.0)
            sides.append(expit(feature * slope + err * self.err + rng.normal(size=n) * size))
        if self.scale != 1:
            sides[1] = np.clip(np.where(bad, sides[1] * self.scale, sides[1]), 0, 1)
        return y, sides[0], sides[1]


@dataclass(frozen=True)
class Drawn:
    """`y`, `a`, `b`: label and both sides' scores, shape (tasks, n); the rest of shape (n,), `places` (n, slices)."""

    event_ms: Ints
    entity: NDArray[np.uint64]
    y: Floats
    a: Floats
    b: Floats
    places: Ints
    canary: NDArray[np.bool_]
    failed: NDArray[np.bool_]


def ticks(drawn: Drawn, sla: Sla, streams: tuple[Stream, ...] = ("shadow",)) -> Iterator[Tick]:
    """The rows that are mature at each tick. In the canary's stream each side has its own users."""
    step, names = sla.tick_s * 1000, list(sla.tasks)
    last = int(drawn.event_ms[-1]) + max(sla.horizon_s(name) for name in names) * 1000 + step
    for tick_ms in range(START_MS + step, last - last % step + 1, step):
        found: dict[tuple[Stream, str], tuple[Scored, Scored]] = {}
        for number, name in enumerate(names):
            due = tick_ms - sla.horizon_s(name) * 1000
            rows = slice(*np.searchsorted(drawn.event_ms, [due - step, due]).tolist())
            pair = [_scored(drawn, rows, number, side) for side in (drawn.a, drawn.b)]
            for stream in streams:
                if stream == "canary":
                    arm = drawn.canary[rows]
                    found[stream, name] = (pair[0].take(~arm), pair[1].take(arm))
                else:
                    found[stream, name] = (pair[0], pair[1])
        yield Tick(tick_ms, found, _exposed(drawn, names, tick_ms, step) if "canary" in streams else {}, {}, START_MS)


def _scored(drawn: Drawn, rows: slice, task: int, side: Floats) -> Scored:
    return Scored(drawn.event_ms[rows], drawn.entity[rows], drawn.y[task, rows], side[task, rows], drawn.places[rows])


def _exposed(drawn: Drawn, names: list[str], tick_ms: int, step: int) -> dict[str, Exposed]:
    rows = slice(*np.searchsorted(drawn.event_ms, [tick_ms - step, tick_ms]).tolist())
    exposed = Exposed(
        drawn.entity[rows],
        drawn.event_ms[rows] // 60_000,
        drawn.canary[rows],
        drawn.failed[rows],
        drawn.places[rows],
    )
    return dict.fromkeys(names, exposed)
