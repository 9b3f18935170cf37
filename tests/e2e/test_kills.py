"""What a `kill -9` in the middle of a rollout does: nothing that anybody relies on is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil
import pytest
from rich.console import Console

from examples.flights import data
from examples.flights.director import Act, Director, Timeline
from examples.flights.hours import hours
from examples.flights.replay import Hour, Replay
from examples.flights.story import judge
from serinus.records import LabelRow, PredictionRow, read_rows
from serinus.rollouts import Phase, RolloutView
from serinus.sla import Sla
from tests.pool.processes import command_lines, descendants, has_ended

MODEL = "flights"
START = datetime(2013, 4, 1, tzinfo=UTC)


def until(what: Callable[[], object], why: str, within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, f"not within {within_s} s: {why}"
        time.sleep(0.05)


def kill(pid: int) -> None:
    """SIGKILL, and wait until the process is gone."""
    process = psutil.Process(pid)
    process.send_signal(signal.SIGKILL)
    until(lambda: has_ended(process), f"{pid} ends")


class ControllerKiller:
    """Kills the controller in the canary, and asks on while it is away."""

    def __init__(self, running: Any, replay: Replay) -> None:
        self.running, self.replay = running, replay
        self.killed = self.asked_without = 0

    def __call__(self, hour: Hour, rollout: RolloutView | None) -> None:
        if self.killed or rollout is None or rollout.phase != Phase.CANARY or not hour.requests:
            return
        self.killed = self.running.pid("controller")
        kill(self.killed)
        with httpx.Client(headers=self.replay.headers, timeout=10) as asking:
            while self.running.pid("controller") in (None, self.killed) or self.asked_without < 50:
                for body in hour.requests:
                    answer = asking.post(f"{self.replay.url}/v2/models/{MODEL}/infer", json=body)
                    assert answer.status_code == 200, answer.text
                    self.asked_without += 1


@pytest.mark.e2e
@pytest.mark.timeout(1200)
def test_a_rollout_comes_to_the_same_end_when_the_controller_is_killed_in_its_canary(
    up: Any, trained: Any, sla: Sla
) -> None:
    running = up()
    client = running.client
    client.apply(sla)
    client.promote(MODEL, client.push(MODEL, trained(2)).version, reason="first", initial=True)
    broken = client.push(MODEL, trained(3)).version
    replay = Replay(running.stack.serving, MODEL, running.replay_token)
    killer = ControllerKiller(running, replay)
    timeline = Timeline(Console())
    director = Director(client, MODEL, [Act(broken, "to be rolled back")], timeline, killer)
    tally = asyncio.run(replay.run(hours(data.load(), START, sla), director.gate))

    view = client.rollout(director.rollouts[0])
    assert killer.killed, "the canary was never seen"
    assert killer.asked_without >= 50, "serving went on without the controller"
    assert view.phase == Phase.ROLLED_BACK
    assert view.verdict == "violated"
    assert Phase.CANARY in [move.to for move in view.history]
    assert tally.failed == 0, tally.errors
    assert running.pid("controller") != killer.killed
    assert judge(None, view, tally.failed, tally.refused, defect=True) == judge(None, view, 0, 0, defect=True)


def front_doors(running: Any) -> list[psutil.Process]:
    """The processes of Ray that run a FrontDoor replica of this stack."""
    below = descendants(running.pid("serving"))  # its driver, raylets and workers
    return [process for process, line in command_lines(below) if "FrontDoor" in line]


def rows_of(log: Path, kind: str, row: type[Any]) -> list[Any]:
    found = []
    for path in (log / kind / MODEL).rglob("*.log"):
        found += [msgspec.msgpack.decode(payload, type=row) for _, payload in read_rows(path.read_bytes())]
    return found


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_what_was_answered_and_acknowledged_is_in_the_log_when_a_front_door_is_killed(
    up: Any, trained: Any, sla: Sla
) -> None:
    running = up("--front-doors", "2")
    client = running.client
    client.apply(sla)
    client.promote(MODEL, client.push(MODEL, trained(2)).version, reason="first", initial=True)
    until(lambda: len(front_doors(running)) == 2, "two front doors run")
    answered: set[str] = set()
    acknowledged: set[tuple[str, str]] = set()
    killed: list[int] = []

    async def send() -> None:
        limits = httpx.Limits(max_connections=16)
        headers = {"Authorization": f"Bearer {running.replay_token}"}
        async with httpx.AsyncClient(
            base_url=running.stack.serving, headers=headers, timeout=10, limits=limits
        ) as asking:

            async def ask(body: dict[str, Any]) -> None:
                answer = await asking.post(f"/v2/models/{MODEL}/infer", json=body)
                if answer.status_code == 200:
                    answered.add(body["id"])

            for at, hour in enumerate(islice(hours(data.load(), START, sla), 36)):
                asks = asyncio.gather(*(ask(body) for body in hour.requests), return_exceptions=True)
                if at in (14, 24):
                    await asyncio.sleep(0)
                    killed.append(front_doors(running)[0].pid)
                    os.kill(killed[-1], signal.SIGKILL)
                await asks
                try:
                    told = await asking.post("/v1/labels", json={"model": MODEL, "labels": list(hour.labels)})
                except httpx.TransportError:
                    continue
                if told.status_code == 200:
                    refused = {row["row"] for row in told.json()["refused"]}
                    acknowledged.update(
                        (row["id"], row["task"]) for n, row in enumerate(hour.labels) if n not in refused
                    )

    asyncio.run(send())
    log = running.home.path / "log"

    def predicted() -> set[str]:
        return {row.id.hex() for row in rows_of(log, "predictions", PredictionRow)}

    labelled = {(row.id.hex(), row.task) for row in rows_of(log, "labels", LabelRow)}
    assert len(killed) == 2
    assert len(answered) > 500
    assert len(acknowledged) > 200
    wanted = {text.replace("-", "") for text in answered}
    until(lambda: wanted <= predicted(), "what was answered is in the log")
    assert {(text.replace("-", ""), task) for text, task in acknowledged} <= labelled
    until(lambda: len(front_doors(running)) == 2, "Ray Serve starts another front door")
