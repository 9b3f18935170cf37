"""The candidate can hurt nobody; shadow copies are bounded, batched and accounted for."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serinus.errors import BadInput
from serinus.routes import PackageRef, RouteTable
from serving import canary
from serving.applied import Applied, Group, apply
from serving.ask import Ask, Output
from serving.calls import ShadowBatch
from serving.canary import CanaryCaller, canary_outputs
from serving.marks import Marks
from serving.rows import slices_of
from serving.runtime import load
from serving.settings import Settings
from serving.shadowing import Copy, ShadowQueue

GROUPS = (Group(2, "d", ("late",)),)


class StandInCandidate:
    """Answers, raises or hangs, as told; counts its calls."""

    def __init__(self) -> None:
        self.mode, self.calls, self.cancelled = "answer", 0, 0

    async def __call__(self, _inputs: Any, _groups: Any, _entity: str) -> list[Output]:
        self.calls += 1
        if self.mode == "raise":
            raise KeyError("not loaded")
        if self.mode == "hang":
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        return [Output("late", np.array([0.5]), 2)]


def one_flight() -> dict[str, Any]:
    return {"origin": np.array(["EWR"], object), "delay": np.float32([1]), "hour": np.float32([2])}


@pytest.mark.parametrize(("canary_bp", "calls"), [(1_000, 1), (1_001, 0)])
def test_above_a_tenth_of_the_traffic_the_front_door_runs_the_candidate(
    applied: Applied, canary_bp: int, calls: int
) -> None:
    table = applied.table.model_copy(update={"canary_bp": canary_bp})
    candidate = StandInCandidate()
    caller = CanaryCaller(candidate, deadline_s=1, in_flight=3)
    ask = Ask(None, None, "e", ("late",), 1, one_flight())
    outputs = asyncio.run(canary_outputs(caller, replace(applied, table=table), ask))
    assert [(o.task, o.version, o.fallback) for o in outputs] == [("late", 2, "")]
    assert candidate.calls == calls


@pytest.mark.parametrize(("mode", "fallback"), [("answer", ""), ("raise", "stable")])
def test_a_candidate_that_raises_in_the_front_door_is_asked_in_its_own_process(
    applied: Applied, mode: str, fallback: str
) -> None:
    table = applied.table.model_copy(update={"canary_bp": 5_000})
    digest = table.packages[2].digest
    without = {key: engine for key, engine in applied.engines.items() if key != digest}
    candidate = StandInCandidate()
    candidate.mode = mode
    caller = CanaryCaller(candidate, deadline_s=1, in_flight=3)
    ask = Ask(None, None, "e", ("late",), 1, one_flight())
    outputs = asyncio.run(canary_outputs(caller, replace(applied, table=table, engines=without), ask))
    assert [(o.task, o.version, o.fallback) for o in outputs] == [("late", 2, fallback)]
    assert (candidate.calls, caller.fallbacks) == (1, int(bool(fallback)))


def test_callers_in_a_hurry_are_answered_in_time_and_trip_no_breaker(applied: Applied) -> None:
    candidate = StandInCandidate()
    candidate.mode = "hang"
    caller = CanaryCaller(candidate, deadline_s=600, in_flight=3)
    table = applied.table.model_copy(update={"canary_bp": 100})
    ask = Ask(None, None, "e", ("late",), 1, one_flight())

    async def all_of_them() -> None:
        for _ in range(2 * canary.TRIPS_AFTER):
            deadline_ns = time.perf_counter_ns() + 20_000_000
            outputs = await canary_outputs(caller, replace(applied, table=table), ask, deadline_ns)
            assert next((o.version, o.fallback) for o in outputs) == (2, "stable")

    asyncio.run(all_of_them())
    assert (candidate.calls, caller.status()["opened"]) == (2 * canary.TRIPS_AFTER, 0)


def test_a_candidate_that_was_once_too_slow_in_the_front_door_is_kept_out_of_it_for_a_while(
    applied: Applied, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("serving.canary.time.monotonic", lambda: clock[0])

    class Slow(Applied):
        def run(self, *_: Any, **__: Any) -> list[Output]:
            clock[0] += self.table.epoch  # the table's number is how long it takes
            return [Output("late", np.array([0.7]), 2)]

    def near(took_s: int) -> list[Output] | None:
        table = applied.table.model_copy(update={"epoch": took_s})
        return caller.near(Slow(table, {}, {}), one_flight(), GROUPS)

    caller = CanaryCaller(StandInCandidate(), deadline_s=1.5, in_flight=3)
    assert near(1)
    assert near(2)  # its answer is there, so it is given
    assert near(1) is None
    clock[0] += canary.NEAR_REST_S
    assert near(2)
    clock[0] += canary.NEAR_REST_S
    assert near(1) is None  # the probe failed: the rest is twice as long
    clock[0] += canary.NEAR_REST_S
    assert near(1)
    assert near(1)
    assert caller.status()["opened"] == 1  # and stayed so by the probe that failed


def test_one_bad_candidate_of_many_models_is_left_alone_and_not_the_others() -> None:
    async def story() -> None:
        candidate = StandInCandidate()
        candidate.mode = "raise"
        caller = CanaryCaller(candidate, deadline_s=5, in_flight=99)
        for _ in range(50):
            assert await caller.outputs({}, GROUPS) is None
        candidate.mode = "answer"
        assert await caller.outputs({}, (Group(7, "another", ("late",)),)) is not None
        assert await caller.outputs({}, GROUPS) is None

    asyncio.run(story())


def test_the_answer_of_a_candidate_that_hangs_is_given_up_in_time() -> None:
    async def story() -> None:
        candidate = StandInCandidate()
        caller = CanaryCaller(candidate, deadline_s=0.02, in_flight=3)
        candidate.mode = "hang"
        assert await asyncio.gather(*(caller.outputs({}, GROUPS) for _ in range(10))) == [None] * 10
        assert (candidate.calls, candidate.cancelled) == (3, 3)  # no more than three hung at once
        candidate.mode = "answer"
        assert await caller.outputs({}, GROUPS) is not None
        assert caller.fallbacks == 10

    asyncio.run(story())


def test_a_candidate_that_keeps_failing_is_left_alone_and_probed_by_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        clock = [100.0]
        monkeypatch.setattr("serving.canary.time.monotonic", lambda: clock[0])
        candidate = StandInCandidate()
        candidate.mode = "raise"
        caller = CanaryCaller(candidate, deadline_s=5, in_flight=99)
        for _ in range(50):
            assert await caller.outputs({}, GROUPS) is None
        assert candidate.calls == canary.TRIPS_AFTER
        clock[0] += canary.REST_S
        assert await asyncio.gather(*(caller.outputs({}, GROUPS) for _ in range(9))) == [None] * 9
        assert candidate.calls == canary.TRIPS_AFTER + 1
        clock[0] += canary.REST_S
        candidate.mode = "answer"
        assert await caller.outputs({}, GROUPS) is not None
        assert all(await asyncio.gather(*(caller.outputs({}, GROUPS) for _ in range(9))))

    asyncio.run(story())


@pytest.fixture(scope="session")
def applied(packages: dict[int, PackageRef]) -> Applied:
    both = {"late": 2, "cancelled": 2}
    table = RouteTable.model_validate(
        {
            "model": "m",
            "epoch": 1,
            "stable": {"late": 1, "cancelled": 1},
            "candidate": both,
            "packages": packages,
            "shadow_bp": 10_000,
            "expires_at": 1e12,
        }
    )
    return apply(table, {ref.digest: load(ref) for ref in packages.values()})


def copy(applied: Applied, marks: Marks, number: int, rows: int = 1, width: int = 1) -> Copy:
    inputs = {"hour": np.full(rows, number, dtype=np.float32)}
    if width > 1:
        inputs["wide"] = np.broadcast_to(np.float32(0), (rows, width))
    keys = [(number.to_bytes(16, "big"), index, "e") for index in range(rows)]
    began = marks.of("m").begin(1000 + number)
    return Copy(applied, applied.groups("candidate", ()), inputs, keys, [{}] * rows, began)


def test_copies_are_sent_in_batches_and_are_outstanding_until_they_are_recorded(
    applied: Applied, tmp_path: Path
) -> None:
    async def story() -> None:
        sent: list[ShadowBatch] = []
        gate = asyncio.Event()

        async def send(batch: ShadowBatch) -> int:
            sent.append(batch)
            await gate.wait()
            return 0

        marks = Marks(tmp_path, "w", 1.0)
        queue = ShadowQueue(send, marks, max_copies=1000)
        for number in range(100):
            queue.put(copy(applied, marks, number, rows=1 + number % 2))
        task = asyncio.create_task(queue.run())
        while len(sent) < 2:
            await asyncio.sleep(0)
        assert marks.of("m").outstanding_ms == 1000  # what is with Shadow is outstanding too
        gate.set()
        while queue.sent < 150:
            await asyncio.sleep(0)
        assert marks.of("m").outstanding_ms is None
        task.cancel()
        assert max(len({key[0] for key in batch.keys}) for batch in sent) == 32
        for batch in sent:
            assert [int.from_bytes(key[0], "big") for key in batch.keys] == batch.inputs["hour"].tolist()
        assert sum(len(batch.keys) for batch in sent) == 150

    asyncio.run(story())


def test_a_full_queue_drops_the_oldest_and_counts_them(applied: Applied, tmp_path: Path) -> None:
    async def story() -> None:
        async def never(_batch: ShadowBatch) -> int:
            raise AssertionError

        marks = Marks(tmp_path, "w", 1.0)
        queue = ShadowQueue(never, marks, max_copies=10)
        for number in range(25):
            queue.put(copy(applied, marks, number))
        assert (len(queue), queue.dropped) == (10, 15)
        assert marks.of("m").outstanding_ms == 1015
        assert marks.of("m").lost == {"shadow_dropped": 15}
        queue.put(copy(applied, marks, 99, width=1 << 25))
        assert len(queue) == 1  # bytes are bounded too

    asyncio.run(story())


def test_a_shadow_that_fails_is_counted_and_the_next_batch_goes_on(applied: Applied, tmp_path: Path) -> None:
    async def story() -> None:
        results: list[Any] = [RuntimeError("died"), 2, 0]

        async def send(_batch: ShadowBatch) -> int:
            result = results.pop(0)
            if isinstance(result, Exception):
                raise result
            return int(result)

        marks = Marks(tmp_path, "w", 1.0)
        queue = ShadowQueue(send, marks, max_copies=10)
        task = asyncio.create_task(queue.run())
        for number in range(3):
            queue.put(copy(applied, marks, number, rows=4))
            while marks.of("m").outstanding_ms is not None:
                await asyncio.sleep(0)
        task.cancel()
        assert marks.of("m").lost == {"shadow_failed": 6}
        assert (queue.sent, queue.failed) == (12, 6)

    asyncio.run(story())


def test_slices_are_texts_as_an_sla_names_them() -> None:
    inputs = {
        "origin": np.array(["EWR", ""], dtype=object),
        "stops": np.array([2.0, np.nan], dtype=np.float32),
        "night": np.array([True, False]),
        "day": np.array([1, 2], dtype=np.int64),
        "vector": np.zeros((2, 3)),
    }
    ask = Ask(id=None, event_ms=None, entity="", tasks=(), rows=2, inputs=inputs, attributes={"tier": "gold"})
    assert slices_of(ask, [*inputs, "absent", "tier"]) == [
        {"origin": "EWR", "stops": "2", "night": "true", "day": "1", "tier": "gold"},
        {"origin": "", "stops": "", "night": "false", "day": "2", "tier": "gold"},
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"SERINUS_HTTP_PORT": "0"},
        {"SERINUS_FRONT_DOORS": "many"},
        {"SERINUS_REPLAY_TOKEN_SHA256": "abc"},
        {"SERINUS_POOL": "../x"},
        {"SERINUS_API": "localhost"},
    ],
)
def test_a_wrong_setting_is_named(wrong: dict[str, str]) -> None:
    with pytest.raises(BadInput, match=next(iter(wrong))):
        Settings.from_env(wrong)
