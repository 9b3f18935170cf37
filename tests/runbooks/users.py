"""Who asks a model in the world of runbooks, and a model that does badly by them."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx

from examples.flights.replay import HOUR_MS
from serinus.errors import NotFound
from serinus.ids import uuid7
from tests.alerts.test_live import START_MS, until
from tests.alerts.traffic import GOOD, SLA, package
from tests.faults.odd import spoil
from tests.pool.stack import request
from tests.runbooks.world import World

__all__ = ["load", "odd_model"]


def odd_model(world: World, kind: str) -> str:
    """A second model, whose stable version misbehaves for hours above 100."""
    name = f"odd-{kind}"
    try:
        world.client.model(name)
    except NotFound:
        world.client.apply(SLA.model_copy(update={"model": name}))
        folder = package(world.folder / name, GOOD)
        spoil(folder, GOOD, kind)
        pushed = world.client.push(name, folder).version
        world.client.promote(name, pushed, reason="first", initial=True)
        until(lambda: _ask(world, name, 1.0) == 200, f"{name} is served")
    return name


@contextmanager
def load(world: World, model: str, hour: float, users: int = 4) -> Iterator[None]:
    """Users who ask all the time, each one request after the other."""
    stop = threading.Event()

    def user() -> None:
        while not stop.is_set():
            with contextlib.suppress(httpx.HTTPError):
                _ask(world, model, hour)

    with ThreadPoolExecutor(users) as pool:
        asking = [pool.submit(user) for _ in range(users)]
        try:
            yield
        finally:
            stop.set()
    for each in asking:
        each.result()


def _ask(world: World, model: str, hour: float) -> int:
    """Status of one request of one row."""
    body = request(["JFK"], [0.0], [hour], id=str(uuid7(START_MS + world.at * HOUR_MS, os.urandom(10))))
    header = {"authorization": f"Bearer {world.running.replay_token}"}
    url = f"{world.running.stack.serving}/v2/models/{model}/infer"
    return httpx.post(url, json=body, headers=header, timeout=30).status_code
