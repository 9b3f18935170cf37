"""The real local stack in which runbooks are tried, and the little that its users do in it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import httpx
import yaml

from examples.flights.replay import HOUR_MS, Hour, Replay
from serinus.client import Client
from serinus.home import Home
from serinus.rollouts import Phase, Plan
from tests.alerts.test_live import START_MS, until
from tests.alerts.traffic import GOOD, MODEL, OTHER, SLA, hours, package
from tests.e2e.conftest import Running, serinus

__all__ = ["World", "world"]

ANSWER_S = 60.0
HEARTBEAT_S = 7_200
ROOM = "1200m"
"""Of the disk of the logs: more than `serinus doctor` calls scarce."""


class _Unlabelled(Replay):
    """Requests whose labels never come."""

    async def _labels(self, session: aiohttp.ClientSession, hour: Hour) -> None:
        return


@dataclass
class World:
    """`running`: a stack with a stable version of the model, and a rollout in its shadow. `at`: hours that went by.

    `versions`: seed of a package -> what it was pushed as."""

    running: Running
    folder: Path
    at: int = 0
    rollouts: list[str] = field(default_factory=list)
    versions: dict[int, int] = field(default_factory=dict)

    @property
    def client(self) -> Client:
        return self.running.client

    @property
    def notify(self) -> Path:
        return self.folder / "notify.yaml"

    @property
    def log(self) -> Path:
        return self.running.home.path / "log"

    def tell(self, *targets: dict[str, str]) -> None:
        """Who gets notices from now on."""
        self.notify.write_text(yaml.safe_dump({"targets": list(targets)}))

    def served(self) -> bool:
        """Whether labels of the model are taken: by a process that follows the routes on its own."""
        stack = self.running.stack
        header = {"authorization": f"Bearer {self.running.replay_token}"}
        body = {"model": MODEL, "labels": []}
        return httpx.post(f"{stack.serving}/v1/labels", json=body, headers=header, timeout=30).status_code != 404

    def traffic(self, count: int, *, labelled: bool = True) -> int:
        """Hours of requests, with their labels or without; how many requests failed."""
        kind = Replay if labelled else _Unlabelled
        replay = kind(self.running.stack.serving, MODEL, self.running.replay_token)

        async def go_on(_: Hour) -> bool:
            return True

        start = START_MS + self.at * HOUR_MS
        self.at += count
        return asyncio.run(replay.run(hours(start, count), go_on)).failed

    def some_rollout(self) -> None:
        """One is in its shadow."""
        if not self.rollouts:
            self.roll_out(OTHER)

    def roll_out(self, seed: int, plan: Plan | None = None) -> None:
        """A rollout in place of the one before, until it is in its shadow."""
        for each in self.rollouts[-1:]:
            self.client.command(each, "abort", "another one is tried")
        if seed not in self.versions:
            self.versions[seed] = self.client.push(MODEL, package(self.folder, seed)).version
        self.rollouts.append(self.client.rollout_start(MODEL, self.versions[seed], plan, "a try").id)
        until(lambda: self.client.rollout(self.rollouts[-1]).phase is Phase.SHADOW, "shadow", 120)

    def run(self, *words: str) -> str:
        """What a command of ours prints to who is on call."""
        told = {name: value for name, value in os.environ.items() if not name.startswith("SERINUS_")}
        command = [sys.executable, "-m", "serinus.cli", *words]
        env = {**told, "SERINUS_HOME": str(self.running.home.path), "COLUMNS": "160"}
        try:
            done = subprocess.run(command, capture_output=True, text=True, env=env, check=False, timeout=ANSWER_S)
        except subprocess.TimeoutExpired:
            return f"no answer within {ANSWER_S:.0f} s"
        return done.stdout + done.stderr


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """Started, and taken down."""
    home = folder / "home"
    os.environ["SERINUS_SILENT_S"] = "600"  # the supervisor is not to mend what is broken here
    notify = folder / "notify.yaml"
    notify.write_text("targets: []\n")
    os.environ["SERINUS_NOTIFY_FILE"] = str(notify)
    with _small_disk(home / "log"):
        serinus(home, "up", "--controller-port", "0", "--serving-port", "0", "--front-doors", "1")
        try:
            with Client(home=home, replay=True) as client:
                made = World(Running(Home(home), client), folder)
                tasks = {name: task.model_copy(update={"heartbeat_s": HEARTBEAT_S}) for name, task in SLA.tasks.items()}
                client.apply(SLA.model_copy(update={"tasks": tasks}))
                client.promote(MODEL, client.push(MODEL, package(folder, GOOD)).version, reason="first", initial=True)
                until(made.served, "the first version, and its labels, are served")
                assert made.traffic(4) == 0
                made.roll_out(OTHER)
                yield made
        finally:
            serinus(home, "down")


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    """A file system of its own, that can be filled. Needs root."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "none", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
