"""Requests of one turn of the loop share a run, and none of them can tell."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import pytest

from serinus.routes import PackageRef, RouteTable
from serving.applied import Applied, apply
from serving.ask import Ask, Output
from serving.batching import Batcher
from serving.runtime import load

STABLE = {"late": 1, "cancelled": 1}


@pytest.fixture
def applied(packages: dict[int, PackageRef]) -> Applied:
    """Engines of this test alone: `late` falls back to the entity's last good answer."""
    table = RouteTable.model_validate(
        {
            "model": "m",
            "epoch": 1,
            "stable": STABLE,
            "packages": {1: packages[1]},
            "heads": {
                "late": {"fallback": "last_known_good", "budget_ms": 5_000},
                "cancelled": {"budget_ms": 5_000},
            },
        }
    )
    return apply(table, {packages[1].digest: load(packages[1])})


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take long for a run."""
    monkeypatch.setattr("serving.batching.AGAIN_WITHIN_NS", 60_000_000_000)


def ask(*hours: float, entity: str = "", **changed: Any) -> Ask:
    rows = len(hours)
    inputs = {
        "origin": np.array(["EWR"] * rows, object),
        "delay": np.arange(rows, dtype=np.float32),
        "hour": np.array(hours, np.float32),
    }
    return Ask(None, None, entity, (), rows, {**inputs, **changed})


def together(batcher: Batcher, applied: Applied, *asks: Ask, deadline_ns: int | None = None) -> list[list[Output]]:
    """The answers to requests that come in one turn."""

    async def story() -> list[Any]:
        groups = applied.groups("stable", ())
        return await asyncio.gather(*(batcher.run(applied, each, groups, deadline_ns) for each in asks))

    return asyncio.run(story())


def test_requests_of_one_turn_share_a_run_and_get_the_answers_they_get_alone(applied: Applied) -> None:
    batcher, asks = Batcher(64), [ask(1.0), ask(2.0, 3.0), ask(4.0), ask(*range(20))]
    found = together(batcher, applied, *asks)
    assert (batcher.runs, batcher.joined) == (1, 4)
    for each, outputs in zip(asks, found, strict=True):
        alone = applied.run(each.inputs, applied.groups("stable", ()))
        assert [(o.task, o.version, o.fallback) for o in outputs] == [(o.task, o.version, o.fallback) for o in alone]
        for mine, his in zip(outputs, alone, strict=True):
            np.testing.assert_allclose(mine.values, his.values, rtol=1e-5)


@pytest.mark.parametrize("max_rows", [0, 1])
def test_it_is_off_unless_two_fit(applied: Applied, max_rows: int) -> None:
    batcher = Batcher(max_rows)
    assert len(together(batcher, applied, ask(1.0), ask(2.0))) == 2
    assert (batcher.runs, batcher.joined) == (0, 0)


def test_a_run_has_no_more_rows_than_it_may(applied: Applied) -> None:
    batcher = Batcher(8)
    assert len(together(batcher, applied, *(ask(1.0, 2.0, 3.0) for _ in range(5)))) == 5
    assert (batcher.runs, batcher.joined) == (3, 4)  # 2, 2 and 1 requests
    together(batcher, applied, ask(*range(5)), ask(1.0))  # more than half of it: alone
    assert batcher.joined == 4


def test_a_lone_request_is_run_in_its_turn(applied: Applied) -> None:
    batcher = Batcher(64)

    async def story() -> None:
        loop = asyncio.get_running_loop()
        waiting = asyncio.ensure_future(batcher.run(applied, ask(1.0), applied.groups("stable", ())))
        for _ in range(3):
            turn: asyncio.Future[None] = loop.create_future()
            loop.call_soon(turn.set_result, None)
            await turn
        assert waiting.done()

    asyncio.run(story())
    assert (batcher.runs, batcher.joined) == (1, 0)


def test_a_ranking_and_a_request_that_is_short_of_time_are_run_alone(applied: Applied) -> None:
    batcher = Batcher(64)
    ranking = ask(1.0, 2.0, origin=np.array(["EWR"], object))
    assert [len(o.values) for o in together(batcher, applied, ranking, ranking)[0]] == [2, 2]
    soon = time.perf_counter_ns() + 40_000_000
    together(batcher, applied, ask(1.0), ask(2.0), deadline_ns=soon)
    assert batcher.joined == 0


def test_a_neighbours_values_make_nobody_else_fall_back(applied: Applied) -> None:
    batcher = Batcher(64)
    found = together(batcher, applied, ask(1.0), ask(np.nan), ask(2.0))
    assert [[o.fallback for o in outputs] for outputs in found] == [["", ""], ["base_rate", "base_rate"], ["", ""]]
    assert batcher.joined == 0


def test_the_last_good_answer_is_kept_and_used_for_each_entity(applied: Applied) -> None:
    batcher = Batcher(64)
    ann, bob = together(batcher, applied, ask(1.0, entity="ann"), ask(9.0, entity="bob"))
    assert batcher.joined == 2
    found = together(batcher, applied, ask(np.nan, entity="ann"), ask(np.nan, entity="bob"), ask(np.nan, entity="eve"))
    late = [outputs[0] for outputs in found]
    assert [o.fallback for o in late] == ["last_known_good", "last_known_good", "base_rate"]
    assert [o.values[0] for o in late[:2]] == [ann[0].values[0], bob[0].values[0]]


def test_what_takes_long_and_falls_back_is_not_run_again(applied: Applied, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a head hangs. The last good answer of each entity stands in all the same."""
    monkeypatch.setattr("serving.batching.AGAIN_WITHIN_NS", 0)
    batcher = Batcher(64)
    ann, _ = together(batcher, applied, ask(1.0, entity="ann"), ask(2.0, entity="bob"))
    found = together(batcher, applied, ask(np.nan, entity="ann"), ask(3.0, entity="eve"))
    assert batcher.joined == 4
    assert [o.fallback for o in found[0]] == ["last_known_good", "base_rate"]
    assert found[0][0].values[0] == ann[0].values[0]
    assert [o.fallback for o in found[1]] == ["base_rate", "base_rate"]


def test_an_error_is_the_error_of_its_request(applied: Applied) -> None:
    batcher = Batcher(64)

    async def story() -> list[Any]:
        groups = applied.groups("stable", ())
        wrong = ask(1.0, hour=np.array(["x"], object))
        calls = [batcher.run(applied, each, groups) for each in (ask(1.0), wrong, ask(2.0))]
        return await asyncio.gather(*calls, return_exceptions=True)

    first, second, third = asyncio.run(story())
    assert isinstance(second, ValueError)
    assert [o.fallback for o in (*first, *third)] == [""] * 4


def test_a_caller_that_went_away_holds_up_nobody(applied: Applied) -> None:
    batcher = Batcher(64)

    async def story() -> None:
        groups = applied.groups("stable", ())
        gone, stays = (asyncio.ensure_future(batcher.run(applied, ask(float(at)), groups)) for at in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        assert len(await stays) == 2

    asyncio.run(story())
