"""The faults that are injected, each undone at its end by what the runbook says, where it says something."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager

import httpx

from tests.alerts.test_live import until
from tests.alerts.traffic import BAD, MODEL, SLA
from tests.alerts.webhook import webhook
from tests.pool.stack import free_port
from tests.runbooks.misbehaving import MISBEHAVING
from tests.runbooks.rooms import ROOMS
from tests.runbooks.world import HEARTBEAT_S, World

__all__ = ["INJECT"]

HOURS_AT_MOST = 240


@contextmanager
def _controller_stopped(world: World) -> Iterator[None]:
    yield from _stopped(world.running.pid("controller"))


@contextmanager
def _monitor_stopped(world: World) -> Iterator[None]:
    yield from _stopped(world.running.pid("monitors"))


def _stopped(pid: int | None) -> Iterator[None]:
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def _paused(world: World) -> Iterator[None]:
    world.some_rollout()
    world.run("rollout", "pause", MODEL, "--reason", "a try")
    try:
        yield
    finally:
        print(world.run("rollout", "resume", MODEL))  # step 3 of the runbook


@contextmanager
def _rehearsal(world: World) -> Iterator[None]:
    assert SLA.rollout is not None
    world.roll_out(BAD, SLA.rollout.model_copy(update={"dry_run": True}))
    for _ in range(HOURS_AT_MOST // 12):
        assert world.traffic(12) == 0
        if "violated" in world.run("explain", MODEL):
            break
    try:
        yield
    finally:
        print(world.run("rollout", "rollback", MODEL, "--reason", "guard violated"))  # step 1 of the runbook
        world.rollouts.clear()


@contextmanager
def _labels_stopped(world: World) -> Iterator[None]:
    assert world.traffic(HEARTBEAT_S // 3600 + 3, labelled=False) == 0
    try:
        yield
    finally:
        assert world.traffic(2) == 0  # the job that sends them is up again


@contextmanager
def _notices_refused(world: World) -> Iterator[None]:
    world.tell({"name": "on-call", "kind": "webhook", "url": f"http://127.0.0.1:{free_port()}"})
    stack = world.running.stack
    with open(stack.token_file) as file:
        header = {"authorization": f"Bearer {file.read().strip()}"}
    said = httpx.post(f"{stack.api}/v1/notices/test", json={"model": MODEL}, headers=header, timeout=30)
    assert said.is_success, said.text
    try:
        yield
    finally:
        with webhook(lambda _: None) as url:  # step 2 of the runbook
            world.tell({"name": "on-call", "kind": "webhook", "url": url})
            until(lambda: "notices are stuck" not in world.run("doctor"), "they arrive", 120)
        world.tell()


@contextmanager
def _database_locked(world: World) -> Iterator[None]:
    with closing(sqlite3.connect(world.running.home.path / "controller.db", timeout=60)) as other:
        other.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            other.rollback()


@contextmanager
def _disk_full(world: World) -> Iterator[None]:
    filler = world.log / "filler"
    with filler.open("wb") as file:
        room = os.statvfs(world.log)
        os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize)
    try:
        assert world.traffic(1, labelled=False) == 0  # answers go on, labels are refused
        yield
    finally:
        filler.unlink()  # step 1 of the runbook


INJECT: dict[str, Callable[[World], AbstractContextManager[None]]] = {
    "promotion-held": _paused,
    "target-down": _monitor_stopped,
    "no-active-controller": _controller_stopped,
    "notices-stuck": _notices_refused,
    "database-down": _database_locked,
    "rows-lost": _disk_full,
    "labels-stopped": _labels_stopped,
    "guard-violated": _rehearsal,
    **MISBEHAVING,
    **ROOMS,
}
