"""Faults of what lies between the processes: logs that the monitor reads, packages that replicas fetch."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from serinus.package import digest_of
from tests.alerts.test_live import until
from tests.alerts.traffic import MODEL, package
from tests.runbooks.world import World

__all__ = ["ROOMS"]

AWAY = 9
"""Seed of a version whose package is away."""
AWAKE_S, ASLEEP_S = 0.05, 0.95


@contextmanager
def _log_damaged(world: World) -> Iterator[None]:
    with _unread_log(world) as file:
        whole = bytearray(file.read_bytes())
        whole[len(whole) // 2 : len(whole) // 2 + 64] = bytes(64)
        file.write_bytes(whole)
    yield
    shutil.move(file, world.folder / file.name)  # step 4 of the runbook
    world.client.command(world.rollouts.pop(), "abort", "its log was damaged")
    _no_alert(world)


@contextmanager
def _log_unreadable(world: World) -> Iterator[None]:
    with _unread_log(world) as file:
        shutil.move(file, world.folder / file.name)
        file.mkdir()
    yield
    file.rmdir()  # step 3 of the runbook
    shutil.move(world.folder / file.name, file)
    _no_alert(world)


@contextmanager
def _unread_log(world: World) -> Iterator[Path]:
    """A file of the log, before the monitor reads it for the rollout that is on."""
    world.some_rollout()
    pid, before = world.running.pid("monitors"), _logs(world)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        assert world.traffic(4) == 0
        yield next(path for path in sorted(_logs(world)) if path not in before)
    finally:
        os.kill(pid, signal.SIGCONT)


def _logs(world: World) -> set[Path]:
    return set(world.log.glob(f"predictions/{MODEL}/**/*.log"))


def _no_alert(world: World) -> None:
    until(lambda: "no alert" in world.run("health", MODEL), "the alert ends", 120)


@contextmanager
def _monitor_is_slow(world: World) -> Iterator[None]:
    """It gets a twentieth of its time while days are replayed."""
    world.some_rollout()
    pid, stop = world.running.pid("monitors"), threading.Event()
    assert pid is not None

    def doze() -> None:
        while not stop.wait(AWAKE_S):
            os.kill(pid, signal.SIGSTOP)
            stop.wait(ASLEEP_S)
            os.kill(pid, signal.SIGCONT)

    def replay() -> None:
        while not stop.is_set():
            world.traffic(12)

    with ThreadPoolExecutor(2) as pool:
        busy = [pool.submit(act) for act in (doze, replay)]
        try:
            yield
        finally:
            stop.set()
    for each in busy:
        each.result()
    until(lambda: "behind the log" not in world.run("doctor"), "it catches up", 120)  # step 2 of the runbook


@contextmanager
def _package_away(world: World) -> Iterator[None]:
    folder = package(world.folder, AWAY)
    version = world.client.push(MODEL, folder).version
    store = world.running.home.path / "packages" / digest_of(folder)
    store.rename(world.folder / "away")
    while world.rollouts:
        with suppress(Exception):  # it may have ended
            world.client.command(world.rollouts.pop(), "abort", "another version is promoted")
    world.client.promote(MODEL, version, reason="a try")
    try:
        yield
    finally:
        (world.folder / "away").rename(store)  # step 3 of the runbook
        until(lambda: "route table" not in world.run("doctor"), "replicas have it", 120)
        print(world.run("rollback", MODEL, "--reason", "it was a try"))


ROOMS: dict[str, Callable[[World], AbstractContextManager[None]]] = {
    "stable-decay": _log_damaged,
    "evidence-error": _log_unreadable,
    "log-lag": _monitor_is_slow,
    "replicas-behind": _package_away,
}
