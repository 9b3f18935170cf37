"""Tables come into force once their versions are loaded and healthy, with or without the controller."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from serinus.errors import InvalidPackage
from serinus.routes import PackageRef, ReplicaReport, ReplicaRole, RouteTable, Watched
from serving.routes_cache import RoutesCache
from serving.routes_follower import Follower
from serving.settings import Settings

Packages = dict[int, PackageRef]


def table(packages: Packages, epoch: int, stable: int = 1, **fields: Any) -> RouteTable:
    own = {"model": "m", "epoch": epoch, "stable": {"late": stable}, "packages": packages}
    return RouteTable.model_validate(own | fields)


async def until(condition: Callable[[], Any], within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def following(settings: Settings, api: str, role: ReplicaRole = "front") -> AsyncIterator[Follower]:
    follower = Follower(role, f"{role}-1-a", dataclasses.replace(settings, api=api))
    task = asyncio.create_task(follower.run())
    try:
        yield follower
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def epoch_of(follower: Follower) -> int:
    return follower.applied["m"].table.epoch if "m" in follower.applied else 0


def last_report(controller: Any) -> ReplicaReport:
    return controller.reports.get("front-1-a") or ReplicaReport(replica="x", role="front")


def test_a_table_is_loaded_applied_reported_and_kept(settings: Settings, controller: Any, packages: Packages) -> None:
    async def story() -> None:
        controller.put(table(packages, 1))
        async with following(settings, controller.url) as follower:
            await until(lambda: last_report(controller).applied == {"m": 1})
            assert last_report(controller).loaded == (packages[1].digest,)
            assert controller.tokens == {"Bearer replica-token"}
            controller.put(table(packages, 2, stable=2))
            await until(lambda: last_report(controller).applied == {"m": 2})
            assert set(follower.engines) == {packages[1].digest, packages[2].digest}  # the way back stays short
            await until(lambda: [t.epoch for t in RoutesCache(settings.routes_cache).read()] == [2])
            controller.remove("m")
            await until(lambda: not follower.applied)
            assert RoutesCache(settings.routes_cache).read() == []

    asyncio.run(story())


def test_a_version_that_fails_its_sample_is_reported_and_the_old_table_stays(
    settings: Settings, controller: Any, packages: Packages, tmp_path: Path, tools: Any
) -> None:
    bad = tools.write_package(tmp_path / "bad", 9, spoil_sample=True)

    async def story() -> None:
        controller.put(table(packages, 1))
        async with following(settings, controller.url) as follower:
            await until(lambda: epoch_of(follower) == 1)
            controller.put(table({**packages, 3: bad}, 2, stable=3))
            await until(lambda: bad.digest in last_report(controller).failed)
            assert "its own sample" in last_report(controller).failed[bad.digest]
            assert last_report(controller).applied == {"m": 1}
            controller.put(table(packages, 3))
            await until(lambda: epoch_of(follower) == 3)
            await until(lambda: last_report(controller).failed == {})

    asyncio.run(story())


def test_it_is_settled_when_each_model_is_answered_or_cannot_be(
    settings: Settings, controller: Any, packages: Packages, tmp_path: Path, tools: Any
) -> None:
    bad = tools.write_package(tmp_path / "bad", 9, spoil_sample=True)

    async def settles(follower: Follower) -> None:
        async with asyncio.timeout(20):
            await follower.settled()

    async def story() -> None:
        async with following(settings, controller.url) as follower:
            await settles(follower)  # with no model there is nothing to wait for
            assert follower.synced
        controller.put(table(packages, 1))
        async with following(settings, controller.url) as follower:
            assert not follower.applied
            await settles(follower)
            assert epoch_of(follower) == 1
        shutil.rmtree(settings.routes_cache)
        controller.put(table({**packages, 3: bad}, 2, stable=3))
        async with following(settings, controller.url) as follower:
            await settles(follower)
            assert bad.digest in follower.holdings.failed
        async with following(settings, "http://127.0.0.1:9") as follower:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(follower.settled(), 0.3)
            assert not follower.synced  # it gave up for the time was over, not for it knew anything

    asyncio.run(story())


def test_an_older_table_is_refused(settings: Settings, packages: Packages) -> None:
    async def story() -> None:
        async with following(settings, "http://127.0.0.1:9") as follower:
            assert follower.take(Watched(tables=(table(packages, 5),), models=("m",)))
            await until(lambda: epoch_of(follower) == 5)
            assert not follower.take(Watched(tables=(table(packages, 4, stable=2),), models=("m",)))
            assert not follower.take(Watched(tables=(table(packages, 5, stable=2),), models=("m",)))
            assert follower.applied["m"].table.stable == {"late": 1}

    asyncio.run(story())


def test_it_starts_from_disk_when_the_controller_is_away_and_goes_on_when_it_is_back(
    settings: Settings, controller: Any, packages: Packages
) -> None:
    async def story() -> None:
        RoutesCache(settings.routes_cache).write(table(packages, 7))
        controller.stop()
        async with following(settings, controller.url) as follower:
            await until(lambda: epoch_of(follower) == 7)
            assert not follower.synced
            controller.put(table(packages, 8, stable=2))
            controller.start()
            await until(lambda: epoch_of(follower) == 8)

    asyncio.run(story())


def test_a_store_that_was_away_for_a_moment_does_not_keep_a_version_out(
    settings: Settings, packages: Packages, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("serving.holdings.RETRY_LOAD_S", 0.1)
    ref = PackageRef(digest=packages[1].digest, uri=(tmp_path / "late").as_uri())

    async def story() -> None:
        async with following(settings, "http://127.0.0.1:9") as follower:
            follower.take(Watched(tables=(table({1: ref}, 1),), models=("m",)))
            await until(lambda: ref.digest in follower.report().failed)
            shutil.copytree(packages[1].uri.removeprefix("file://"), tmp_path / "late")
            await until(lambda: epoch_of(follower) == 1)
            assert follower.report().failed == {}

    asyncio.run(story())


def test_the_cache_keeps_the_newest_table_and_survives_damage(tmp_path: Path, packages: Packages) -> None:
    cache = RoutesCache(tmp_path)
    for epoch in (2, 1):
        cache.write(table(packages, epoch))
    (tmp_path / "other.json").write_text('{"format": 99}')
    assert [kept.epoch for kept in cache.read()] == [2]


SPLIT: dict[str, Any] = {"candidate": {"late": 2}, "canary_bp": 1_000, "shadow_bp": 10_000, "expires_at": 1e12}
NOWHERE = "http://127.0.0.1:9"


def give(follower: Follower, given: RouteTable) -> None:
    follower.take(Watched(tables=(given,), models=("m",)))


def test_each_role_loads_what_it_answers_with_and_knows_what_it_must(settings: Settings, packages: Packages) -> None:
    loaded: dict[ReplicaRole, set[int]] = {"front": {1}, "candidate": {2}, "shadow": {1, 2}}
    fetched: dict[ReplicaRole, set[int]] = {"front": {1, 2}, "candidate": {2}, "shadow": {1, 2}}

    async def story(role: ReplicaRole) -> None:
        own = dataclasses.replace(settings, routes_cache=settings.home / role)
        async with following(own, NOWHERE, role) as follower:
            give(follower, table(packages, 1, **SPLIT))
            await until(lambda: epoch_of(follower) == 1)
            report = follower.report()
            assert set(report.loaded) == {packages[version].digest for version in loaded[role]}
            assert set(report.fetched) == {packages[version].digest for version in fetched[role]}
            assert None not in (report.resident_bytes, report.free_bytes)
            give(follower, table(packages, 2))
            give(follower, table(packages, 3))
            await until(lambda: epoch_of(follower) == 3)
            await until(lambda: len(follower.engines) == (role == "front"))

    for role in loaded:
        asyncio.run(story(role))


def test_a_large_share_comes_into_force_once_the_front_door_holds_the_candidate(
    settings: Settings, packages: Packages, monkeypatch: Any
) -> None:
    near = {**SPLIT, "canary_bp": 1_001}

    async def story() -> None:
        async with following(settings, NOWHERE) as follower:
            give(follower, table(packages, 1, **SPLIT))
            await until(lambda: epoch_of(follower) == 1)
            assert packages[2].digest not in follower.engines
            assert "origin" in follower.applied["m"].specs
            monkeypatch.setattr("serving.runtime.refuse_if_too_large", _no_room)
            give(follower, table(packages, 2, **near))
            await until(lambda: "9 GB" in follower.report().failed.get(packages[2].digest, ""))
            assert epoch_of(follower) == 1
            monkeypatch.setattr("serving.runtime.refuse_if_too_large", lambda *_: None)
            await until(lambda: epoch_of(follower) == 2)
            assert packages[2].digest in follower.engines

    monkeypatch.setattr("serving.holdings.RETRY_LOAD_S", 0.2)
    asyncio.run(story())


def _no_room(*_: Any) -> None:
    raise InvalidPackage("it needs 9 GB")


def test_who_loads_is_nice_and_who_answers_is_not(settings: Settings, packages: Packages) -> None:
    async def story() -> None:
        async with following(settings, NOWHERE) as follower:
            give(follower, table(packages, 1))
            await until(lambda: epoch_of(follower) == 1)
            plain = os.getpriority(os.PRIO_PROCESS, 0)
            found = {
                (t.name.split("_")[0], os.getpriority(os.PRIO_PROCESS, t.native_id or 0) - plain)
                for t in threading.enumerate()
            }
            assert {("load", 10), ("fetch", 10), ("watchdog", 0), ("MainThread", 0)} <= found

    asyncio.run(story())


def test_it_starts_with_stable_when_the_candidate_cannot_be_had(
    settings: Settings, packages: Packages, tmp_path: Path
) -> None:
    lost = PackageRef(digest="0" * 64, uri=(tmp_path / "nowhere").as_uri())

    async def story() -> None:
        async with following(settings, NOWHERE) as follower:
            give(follower, table({1: packages[1], 2: lost}, 4, **{**SPLIT, "canary_bp": 5_000}))
            await until(lambda: epoch_of(follower) == 4)
            assert set(follower.applied["m"].engines) == {packages[1].digest}
            assert lost.digest in follower.report().failed

    asyncio.run(story())


def test_a_replica_starts_again_when_the_package_store_is_gone(settings: Settings, tools: Any, tmp_path: Path) -> None:
    store = tmp_path / "store"
    packages = {seed: tools.write_package(store / str(seed), seed) for seed in (1, 2)}

    async def story(given: RouteTable | None) -> None:
        async with following(settings, NOWHERE) as follower:
            if given:
                give(follower, given)
            await until(lambda: epoch_of(follower) == 3)
            assert set(follower.engines) == {packages[1].digest}

    asyncio.run(story(table(packages, 3, **SPLIT)))
    shutil.rmtree(store)
    asyncio.run(story(None))
