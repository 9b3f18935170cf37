"""Rows that are accumulated in parts give the state, bit by bit, of one accumulation that saw them all."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from monitors.accumulation import Accumulation
from monitors.accumulation_state import of_state, state_of
from monitors.accumulators import State
from monitors.assess import Assessor
from monitors.rows import Exposed, Scored, Tick
from serinus.evidence import WorkItem

HOUR_MS, START = 3_600_000, 240 * 3_600_000
Draw = Callable[..., Tick]


def same(a: State, b: State) -> bool:
    return a.keys() == b.keys() and all(
        a[name].dtype == b[name].dtype and np.array_equal(a[name], b[name], equal_nan=a[name].dtype.kind == "f")
        for name in a
    )


def ticks_of(item: WorkItem, draw: Draw, count: int) -> list[Tick]:
    rng, found = np.random.default_rng(3), []
    for at in range(1, count + 1):
        tick_ms = START + at * HOUR_MS
        shadow = draw(rng, tick_ms, item.sla.tasks, worse=0.5)
        canary = draw(rng, tick_ms, item.sla.tasks, stream="canary", n=30)
        user = rng.integers(0, 9, 60).astype(np.uint64)
        exposed = Exposed(user, rng.integers(0, 60, 60), user % 2 == 0, rng.random(60) < 0.2, np.zeros((60, 1), int))
        counts = {"rows": 3}
        found.append(Tick(tick_ms, {**shadow.streams, **canary.streams}, {"click": exposed}, counts, tick_ms - HOUR_MS))
    return found


def split(tick: Tick, count: int, rng: np.random.Generator) -> list[Tick]:
    """The tick's rows dealt out to parts, each in another order."""

    def dealt(rows: Scored, part: int, shard: np.ndarray) -> Scored:
        return rows.take(rng.permutation(np.flatnonzero(shard == part)))

    streams = {
        key: [(rows, rng.integers(0, count, len(rows))) for rows in sides] for key, sides in tick.streams.items()
    }
    exposed = {task: (rows, rng.integers(0, count, len(rows.minute))) for task, rows in tick.exposed.items()}
    parts = []
    for part in range(count):
        mine = {key: tuple(dealt(rows, part, shard) for rows, shard in sides) for key, sides in streams.items()}
        shown = {}
        for task, (rows, shard) in exposed.items():
            at = rng.permutation(np.flatnonzero(shard == part))
            shown[task] = Exposed(
                rows.entity[at], rows.minute[at], rows.canary[at], rows.failed[at], slices=rows.slices[at]
            )
        counts = tick.counts if part == 0 else {}
        parts.append(Tick(tick.tick_ms, mine, shown, counts, tick.first_event_ms))
    return parts


@settings(
    deadline=None,
    max_examples=8,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(count=st.integers(1, 5), seed=st.integers(0, 2**32))
def test_shards_are_one(item: WorkItem, draw: Draw, count: int, seed: int) -> None:
    """Through the freezing of the bins, and with user-minutes that several shards saw."""
    rng, one, many = np.random.default_rng(seed), Assessor(item), Assessor(item)
    for tick in ticks_of(item, draw, 9):
        parts = []
        for dealt in split(tick, count, rng):
            part = many.whole.blank()
            part.add(dealt)
            parts.append(of_state(item, state_of(part)) if seed % 2 else part)
        rng.shuffle(parts)
        assert many.consume_parts(tick.tick_ms, parts) == one.consume(tick)
    assert same(state_of(one.whole), state_of(many.whole))


def test_merging_has_an_identity_and_any_order(item: WorkItem, draw: Draw) -> None:
    whole, tick = Accumulation(item), ticks_of(item, draw, 1)[0]
    parts = []
    for dealt in split(tick, 3, np.random.default_rng(0)):
        part = whole.blank()
        part.add(dealt)
        parts.append(part)
    a, b, c = parts
    assert same(state_of(a.merge(b).merge(c)), state_of(c.merge(a.merge(b))))
    assert same(state_of(a.merge(whole)), state_of(a))
    assert same(state_of(whole.merge(whole)), state_of(whole))
