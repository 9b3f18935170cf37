"""Front doors come and go with the load, and many models come and go beside one that is under load: nothing fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serinus.errors import BadInput
from serinus.routes import PackageRef, RouteTable
from serving.autoscaling import BusyMeter, BusyPolicy, replicas_for
from serving.settings import Settings
from tests.faults.load import Plan
from tests.faults.run import Run
from tests.pool.stack import Stack, wait_for


@pytest.mark.parametrize(
    ("busy", "now", "wanted"),
    [
        (0.0, 1, 1),
        (0.59, 1, 1),
        (0.61, 1, 2),
        (1.9, 2, 4),
        (0.59, 2, 2),  # one would do, but only just
        (0.47, 2, 1),
        (0.0, 9, 1),
    ],
)
def test_as_many_replicas_as_keep_each_below_the_target(busy: float, now: int, wanted: int) -> None:
    assert replicas_for(busy, now, target=0.6) == wanted


def test_who_has_not_reported_counts_like_the_others_and_nobody_is_no_reason_to_change() -> None:
    known = SimpleNamespace(
        aggregated_metrics={"busy": {"a": 0.9, "gone": 0.1}},
        running_replicas=["a", "b"],
        current_num_replicas=2,
        target_num_replicas=2,
    )
    assert BusyPolicy(0.6)(known) == (3, {})
    known.aggregated_metrics = None
    assert BusyPolicy(0.6)(known) == (2, {})


def test_a_busy_thread_is_busy_and_an_idle_one_is_not() -> None:
    meter = BusyMeter()
    sum(range(2_000_000))
    busy = meter.share()["busy"]
    wait_for(lambda: meter.share()["busy"] < busy)


@pytest.mark.parametrize("text", ["0", "2:1", "1:65", "1:2:3", ":", "1:", "x"])
def test_numbers_of_replicas_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="SERINUS_FRONT_DOORS"):
        Settings.from_env({"SERINUS_FRONT_DOORS": text})


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory, packages: dict[int, PackageRef]) -> Iterator[Stack]:
    scaled: dict[str, Any] = {
        "SERINUS_FRONT_DOORS": "1:2",
        "SERINUS_BUSY_TARGET_PCT": "10",
        "SERINUS_SCALE_UP_AFTER_S": "1",
        "SERINUS_SCALE_DOWN_AFTER_S": "2",
    }
    started = Stack(tmp_path_factory.mktemp("scaled"), packages, **scaled)
    try:
        yield started
    finally:
        started.stop()


def table_of(packages: dict[int, PackageRef], model: str, epoch: int = 1, version: int = 1) -> RouteTable:
    ref = packages[version]
    told = {"model": model, "epoch": epoch, "stable": {"late": version}, "packages": {version: ref}}
    return RouteTable.model_validate(told)


def fronts(pool: Stack, holding: str) -> int:
    """Live front doors that have this model in force."""
    alive = {str(process.pid) for process in pool.replicas("FrontDoor")}
    reports = [r for r in list(pool.controller.reports.values()) if r.role == "front" and holding in r.applied]
    return len({r.replica for r in reports if r.replica.split("-")[1] in alive})


def test_front_doors_follow_the_load_and_no_request_fails(pool: Stack, packages: dict[int, PackageRef]) -> None:
    pool.controller.put(table_of(packages, "flights"))
    wait_for(lambda: fronts(pool, "flights") == 1, 30)
    calm = Run(Plan(url=pool.ready["url"], rate=20, at_most_s=300))
    try:
        calm.more(20)
        heavy = Run(Plan(url=pool.ready["url"], rate=400, at_most_s=120))
        try:
            wait_for(lambda: fronts(pool, "flights") == 2, 90)
            heavy.more(100)
        finally:
            heavy.stop()
        wait_for(lambda: len(pool.replicas("FrontDoor")) == 1, 90)
        calm.more(20)
    finally:
        calm.stop()
    assert (heavy.failed, calm.failed) == ([], [])


def test_thirty_models_come_and_go_beside_one_under_load(
    pool: Stack, packages: dict[int, PackageRef], tmp_path: Path, tools: Any
) -> None:
    more = {seed: tools.write_package(tmp_path / str(seed), seed) for seed in range(100, 110)}
    names = [f"m{number}" for number in range(30)]
    pool.controller.put(table_of(packages, "flights", epoch=2))
    pids = {process.pid for process in pool.replicas("Candidate")}

    def held() -> list[set[str]]:
        alive = {str(process.pid) for process in pool.replicas("FrontDoor")}
        reports = list(pool.controller.reports.values())
        return [set(r.applied) for r in reports if r.role == "front" and r.replica.split("-")[1] in alive]

    load = Run(Plan(url=pool.ready["url"], rate=20, at_most_s=200))
    try:
        load.more(5)
        for number, name in enumerate(names):
            pool.controller.put(table_of(more, name, version=100 + number % 10))
        wait_for(lambda: all(models >= set(names) for models in held()), 60)
        for name in names:
            found = pool.http.post(f"/v2/models/{name}/infer", json=tools.request(["EWR"], [3.0], [7.0]))
            assert found.status_code == 200, found.text
        load.more(20)
        for name in names:
            pool.controller.remove(name)
        wait_for(lambda: all(models == {"flights"} for models in held()), 60)
        load.more(20)
    finally:
        load.stop()
    assert load.failed == []
    assert {process.pid for process in pool.replicas("Candidate")} == pids
    gone = {ref.digest for ref in more.values()}
    reports = [r for r in list(pool.controller.reports.values()) if r.role == "front" and r.applied == {"flights": 2}]
    assert reports
    wait_for(lambda: not any(gone & set(r.loaded) for r in list(pool.controller.reports.values())), 30)
