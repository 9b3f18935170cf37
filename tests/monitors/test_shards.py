"""Any number of shards finds what one finds, to the bit; one that is killed delays its tick and changes nothing."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitors.accumulation import Accumulation
from monitors.accumulation_state import state_of
from monitors.assess import Assessor
from monitors.follower import Follower
from monitors.portion import Portion
from monitors.shards import RayShards, Shard, tree
from monitors.ticks import Reach
from serinus.evidence import WorkItem
from serinus.ids import uuid7
from serinus.records import LabelRow, PredictionRow, Score
from serinus.sla import Sla

T0 = 240 * 3_600_000
TICK_MS = 600_000
HOURS = 3
END = T0 + (HOURS + 2) * 3_600_000


@pytest.fixture
def plan() -> WorkItem:
    sla = Sla.model_validate(
        {
            "model": "ads",
            "tasks": {
                "click": {"label_window_s": 1800, "absent": "negative"},
                "buy": {"label_window_s": 3600, "absent": "unlabelled", "given": "click"},
            },
            "slices": {"country": ["BR", "DE"]},
            "tick_s": TICK_MS // 1000,
            "freeze_scores": 200,
        }
    )
    return WorkItem(rollout="r1", model="ads", sla=sla, baseline=1, candidate=2, alpha=0.05, started_event_ms=T0)


def rows(seed: int, count: int) -> list[PredictionRow | LabelRow]:
    """Shadowed rows, rows of canary and control that fail at times, several of one request, some of them twice."""
    pick = random.Random(seed)
    found: list[PredictionRow | LabelRow] = []
    for at in range(count):
        event = T0 + at * HOURS * 3_600_000 // count
        ident, index, user = uuid7(event, pick.randbytes(10)).bytes, at % 3, f"u{pick.randrange(40)}"
        truth, where = pick.random(), {"country": pick.choice(["BR", "DE", "FR"])}

        def said(arm: str, version: int, p: float, fails: bool = False) -> None:
            fallback = "stable" if fails else ""
            scores = [Score(task, p, version, fallback) for task in ("click", "buy")]
            row = PredictionRow(ident, index, arm, user, "r1", 1, scores, where, 5)  # noqa: B023
            found.extend([row] * pick.choice([1, 1, 1, 2]))

        if at % 4:
            said("stable", 1, truth)
            said("shadow", 2, 0.7 * truth + 0.3 * pick.random())
        else:
            canary = pick.random() < 0.5
            said("canary" if canary else "control", 1 + canary, truth, pick.random() < 0.2)
        for task in ("click", "buy"):
            if pick.random() < truth:
                found.append(
                    LabelRow(ident, index, task, float(pick.random() < 0.8), event + pick.randrange(3_000_000))
                )
    return found


def looks(follower: Follower) -> list[str]:
    found = []
    while (evidence := follower.look(END)) is not None:
        found.append(evidence.digest)
    return found


class Here:
    """Shards of this process."""

    def __init__(self, log: Path, of: int) -> None:
        self.shards = [Shard(log, number, of) for number in range(of)]

    def parts(
        self, whole: Accumulation, previous_ms: int, tick_ms: int, reach: Reach | None = None
    ) -> list[Accumulation]:
        known = (whole.item, whole.replay, dict(whole.bins), previous_ms, tick_ms)
        found = [each.part(*known, reach=reach) for each in self.shards]
        random.Random(tick_ms).shuffle(found)
        return tree(found, lambda _at, one, other: one.merge(other))

    def close(self) -> None:
        pass


def same_state(one: Assessor, other: Assessor) -> None:
    mine, theirs = state_of(one.whole), state_of(other.whole)
    assert mine.keys() == theirs.keys()
    for name in mine:
        np.testing.assert_array_equal(mine[name], theirs[name], err_msg=name)


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32), st.integers(2, 5))
def test_shards_find_the_same_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory, plan: WorkItem, write_log: object, seed: int, of: int
) -> None:
    root = tmp_path_factory.mktemp("shards")
    written = rows(seed, 900)
    random.Random(seed).shuffle(written)
    for at in range(2):
        write_log(root, "ads", written[at::2], writer=f"w{at}")  # type: ignore[operator]
    alone = Follower.start(plan, root, root / "state")
    split = Follower.start(plan, root, root / "state", Here(root, of))
    expected = looks(alone)
    assert len(set(expected)) > 10
    assert looks(split) == expected
    same_state(alone.assessor, split.assessor)


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(10, 7200), st.integers(0, 2**40), st.integers(0, 2**24))
def test_each_moment_is_in_one_portion_and_minutes_are_whole(of: int, tick_s: int, at: int, length: int) -> None:
    portions = Portion.split(of, tick_s)
    times = np.array([at, at + length // 2, at + length])
    assert (sum(portion.holds(times).astype(int) for portion in portions) == 1).all()
    for portion in portions:
        assert portion.holds(times // 60_000 * 60_000).tolist() == portion.holds(times).tolist()
        if portion.holds(times).any():
            assert portion.meets(at, at + length)
        assert portion.meets(at, at) == portion.holds(np.array([at]))[0]


@pytest.fixture
def two(tmp_path: Path) -> Iterator[RayShards]:
    shards = RayShards(tmp_path, 2)
    yield shards
    shards.close()


def test_two_actors_one_of_which_is_killed(tmp_path: Path, plan: WorkItem, write_log: object, two: RayShards) -> None:
    """Killed between ticks, and in the midst of one: the tick waits for it, and evidence is that of one process."""
    import ray

    written = rows(7, 900)
    write_log(tmp_path, "ads", written)  # type: ignore[operator]
    expected = looks(Follower.start(plan, tmp_path, tmp_path / "state"))
    follower = Follower.start(plan, tmp_path, tmp_path / "state", two)
    found, pids = [], [0, 0]
    for at in range(9):
        if at == 3:
            ray.kill(two.actors[0], no_restart=False)
        if at == 6:
            found.append(_killed_while_it_waits(follower, pids[1]))
            continue
        evidence = follower.look(END)
        assert evidence is not None
        found.append(evidence.digest)
        pids = ray.get([actor.pid.remote() for actor in two.actors])
    assert found == expected[:9]


def _killed_while_it_waits(follower: Follower, victim: int) -> str:
    """The digest of the next look, while which a shard is killed that had no chance to answer before."""
    found: list[str] = []
    os.kill(victim, signal.SIGSTOP)
    looking = threading.Thread(target=lambda: found.append(getattr(follower.look(END), "digest", "")))
    looking.start()
    looking.join(0.3)
    assert looking.is_alive()
    os.kill(victim, signal.SIGKILL)
    looking.join(120)
    assert not looking.is_alive()
    return found[0]
