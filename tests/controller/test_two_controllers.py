"""Two real controllers on one database: one acts; killed, the other takes over within the lease, nothing twice."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

import controller
from controller.database import Database
from controller.tables import AliasMove, AuditRow
from serinus.rollouts import Phase

SLA = {"model": "ads", "tasks": {"click": {"label_window_s": 60, "absent": "negative"}}}
Started = tuple[subprocess.Popen[str], httpx.Client]


@pytest.fixture
def both(database_url: str, tmp_path: Path) -> Iterator[list[Started]]:
    """Two controllers with one home and one database, each with a client."""
    if database_url.startswith("sqlite"):
        pytest.skip("one process owns an SQLite file; its restart is in test_process.py")
    env = {
        **os.environ,
        "PYTHONPATH": str(Path(controller.__file__).parents[1]),
        "SERINUS_HOME": str(tmp_path / "home"),
        "SERINUS_CONTROLLER_PORT": "0",
        "SERINUS_DATABASE_URL": database_url,
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "controller"], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True,
            stderr=(tmp_path / f"log{n}").open("a"),
        )
        for n in range(2)
    ]  # fmt: skip
    started = []
    guard = threading.Timer(90, lambda: [process.kill() for process in processes])
    guard.start()
    for process in processes:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, [(tmp_path / f"log{n}").read_text() for n in range(2)]
        started.append((process, httpx.Client(base_url=json.loads(line)["url"], timeout=30)))
    guard.cancel()
    yield started
    for process, client in started:
        client.close()
        process.kill()
        process.wait(timeout=10)
        assert process.stdout is not None
        process.stdout.close()


def until(condition: Callable[[], Any], what: str, timeout_s: float = 60.0) -> Any:
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {timeout_s} s for {what}"
        time.sleep(0.05)
    return found


def acting(client: httpx.Client) -> bool:
    return bool(client.get("/v1/status").raise_for_status().json()["acting"])


def test_the_other_takes_over_and_nothing_is_done_twice(
    both: list[Started], database_url: str, make: Any, tmp_path: Path, build: Any, tar_of: Any
) -> None:
    until(lambda: any(acting(client) for _, client in both), "one to act")
    assert [acting(client) for _, client in both].count(True) == 1
    both.sort(key=lambda each: not acting(each[1]))
    (first, client), (_, other) = both
    client.put("/v1/models/ads", json={"sla": SLA}).raise_for_status()
    digests = []
    for note in ("a", "b"):
        content = tar_of(build(tmp_path / note, "click", note=note))
        digests.append(other.post("/v1/models/ads/versions", content=content).raise_for_status().json()["digest"])
    other.post("/v1/models/ads/promote", json={"version": 1, "initial": True}).raise_for_status()
    body = {"version": 2, "plan": make.HASTY.model_dump()}
    rollout = other.post("/v1/models/ads/rollouts", json=body).raise_for_status().json()["id"]
    for role in ("front", "candidate", "shadow"):
        report = {"replica": f"{role}-1", "role": role, "loaded": digests}
        other.post("/v1/pools/default/watch", json={"report": report, "wait_s": 0}).raise_for_status()
    until(lambda: other.get(f"/v1/rollouts/{rollout}").json()["phase"] == "shadow", "shadow")

    first.send_signal(signal.SIGKILL)
    first.wait(timeout=10)
    evidence = make.evidence("satisfied", make.T0, rollout).model_dump(mode="json")
    sent = {"monitor": "m", "watermarks_ms": {"ads": make.T0}, "evidence": [evidence]}
    other.post("/v1/monitor/exchange", json=sent).raise_for_status()
    until(lambda: other.get(f"/v1/rollouts/{rollout}").json()["phase"] == "done", "the other to end it")
    assert acting(other)

    path = [Phase.PENDING, Phase.LOADING, Phase.SHADOW, Phase.CANARY, Phase.RAMP, Phase.BAKE, Phase.DONE]
    history = other.get(f"/v1/rollouts/{rollout}").json()["history"]
    assert [(move["start"], move["to"]) for move in history] == list(itertools.pairwise(path))
    database = Database(database_url)
    with database.read() as session:
        moves = session.scalars(select(AliasMove).order_by(AliasMove.id)).all()
        audits = session.scalars(select(AuditRow).order_by(AuditRow.number)).all()
    database.close()
    assert [(move.alias, move.was, move.version) for move in moves] == [
        ("stable", None, 1),
        ("previous", None, 1),
        ("stable", 1, 2),
    ]
    told = [entry.action for entry in audits if entry.subject == f"rollouts/{rollout}"]
    assert told == ["rollout.start", *(f"rollout.{move['trigger']}" for move in history)]
