"""A controller as a process, on SQLite or on a PostgreSQL of our own, and what it looks after: models in pools of their
own, replicas that poll, rollouts that go on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.processes import Server, free_port, get
from controller.advance import promote_now, start
from controller.database import Database
from controller.exchange import keep
from controller.registry import add_version, put_model
from controller.rollouts import Ask
from serinus.evidence import CellEvidence, Evidence, MonitorReport
from serinus.package import Manifest
from serinus.rollouts import Plan, Step
from serinus.sla import Sla

HEADERS = {"content-type": "application/json"}
TASKS, SLICES = 4, 7
"""84 cells: 4 tasks, 7 slices, 3 metrics."""


def name_of(at: int) -> str:
    return f"m{at:04d}"


@contextlib.contextmanager
def postgres() -> Iterator[str | None]:
    """URL of a server on a Unix socket; None where PostgreSQL is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        yield None
        return
    folder, home = found[-1].parent, tempfile.mkdtemp(prefix="serinus-bench-pg-", dir="/tmp")
    who: dict[str, Any] = {}
    if os.getuid() == 0:  # PostgreSQL refuses to be run by root
        user = {each.pw_name: each for each in pwd.getpwall()}["postgres"]
        who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        os.chown(home, user.pw_uid, user.pw_gid)

    def run(program: str, *arguments: str) -> None:
        command = [str(folder / program), *arguments]
        subprocess.run(command, **who, cwd=home, capture_output=True, timeout=120, check=True)

    try:
        run("initdb", "-D", f"{home}/data", "-U", "serinus", "-A", "trust", "-E", "UTF8", "--no-sync")
        run(
            "pg_ctl",
            "-D",
            f"{home}/data",
            "-l",
            f"{home}/log",
            "-w",
            "-o",
            f"-k {home} -c listen_addresses=''",
            "start",
        )
        try:
            yield f"postgresql+psycopg://serinus@/postgres?host={home}"
        finally:
            run("pg_ctl", "-D", f"{home}/data", "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def populate(url: str, models: int, rollouts: int) -> list[str]:
    """Models with two versions, each in its own pool. Gives the ids of `rollouts` that begin."""
    db, now = Database(url), time.time()
    db.migrate()
    ids = []
    plan = Plan(
        steps=(Step(canary_bp=100, hold_s=10**6),), cycle_s=10**6, shadow_hold_s=10**6, max_duration_s=31_622_400
    )
    for at in range(models):
        name = name_of(at)
        with db.write() as session:
            put_model(session, sla_of(name), name, now)
            for number in (1, 2):
                add_version(session, name, f"{name}-{number}", manifest_of(str(number)), now)
            ask = Ask("promote", "", "bench")
            promote_now(session, name, 1, lambda digest: f"file:///{digest}", ask=ask, initial=True, now=now)
            if at < rollouts:
                ids.append(start(session, name, 2, plan, why="bench", actor="bench", now=now).id)
    db.close()
    return ids


def sla_of(name: str) -> Sla:
    tasks = {f"t{at}": {"label_window_s": 60, "absent": "negative"} for at in range(TASKS)}
    return Sla.model_validate({"model": name, "tasks": tasks})


def manifest_of(note: str) -> Manifest:
    tasks = [f"t{at}" for at in range(TASKS)]
    files = {f"parts/{task}.onnx": {"sha256": "0" * 64, "size_bytes": 1} for task in tasks}
    files |= {name: {"sha256": "0" * 64, "size_bytes": 1} for name in ("sample.json", "baseline.json")}
    parts = [
        {"name": t, "role": "head", "file": f"parts/{t}.onnx", "inputs": ["x"], "outputs": [f"{t}_p"]} for t in tasks
    ]
    told = {
        "inputs": [{"name": "x", "datatype": "FP32"}],
        "parts": parts,
        "tasks": [{"name": t, "kind": "binary", "output": f"{t}_p", "base_rate": 0.1} for t in tasks],
        "provenance": {"note": note},
        "files": files,
    }
    return Manifest.model_validate(told)


def look_of(rollout: str, model: str, tick_ms: int, at: int, verdict: str = "inconclusive") -> Evidence:
    """A look with 84 cells, whose numbers move with `at`."""
    cells = []
    for task in range(TASKS):
        for each in range(SLICES):
            for metric in ("auc", "calibration", "log_loss"):
                seed = (task * 31 + each * 7 + len(metric)) / 97
                told = {
                    "stream": "shadow", "task": f"t{task}", "slice": f"slice-{each}", "metric": metric,
                    "role": "required", "weight": 1.0, "margin": 0.01, "estimate": seed / (at + 3),
                    "low": seed / (at + 7),
                    "high": seed / (at + 2), "e_violated": 30.0 if verdict == "violated" else seed / (at + 1.7),
                    "e_satisfied": seed * (at + 1.3), "verdict": verdict, "baseline_value": 0.8 - seed / (at + 9),
                    "candidate_value": 0.8 - seed / (at + 11), "labels": 1000 * at, "positives": 100 * at, "groups": at,
                }  # fmt: skip
                cells.append(CellEvidence.model_validate(told))
    return Evidence.model_validate(
        {
            "rollout": rollout, "model": model, "baseline": 1, "candidate": 2, "tick_ms": tick_ms,
            "watermark_ms": tick_ms, "first_event_ms": 1, "e": 30.0 if verdict == "violated" else 0.5,
            "limit": 20.0, "verdict": verdict, "cells": cells,
            "culprits": (cells[0].name,) if verdict == "violated" else (),
        }
    )  # fmt: skip


def bring(db: Database, looks: list[Evidence], now: float) -> None:
    marks = {look.model: look.tick_ms for look in looks}
    with db.write() as session:
        keep(session, MonitorReport(monitor="bench", evidence=tuple(looks), watermarks_ms=marks), now)


def controller(url: str) -> Server:
    port = free_port()
    env = {"SERINUS_DATABASE_URL": url, "SERINUS_CONTROLLER_PORT": str(port), "PYTHONPATH": str(Path.cwd())}
    server = Server("controller", [sys.executable, "-m", "controller"], env, port)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            get(port, "/readyz")
            return server
        time.sleep(0.1)
    text = (server.folder / "output.txt").read_text()[-500:]
    server.stop()
    raise RuntimeError(f"the controller did not start: {text}")


class Replicas:
    """Replicas on long polls; each has one pool. `heard`: (pool, epoch) -> when each of its replicas got that table."""

    def __init__(self, port: int, pools: list[str], wait_s: float) -> None:
        self.port, self.pools, self.wait_s = port, pools, wait_s
        self.heard: dict[tuple[str, int], list[float]] = {}
        self.known: dict[int, dict[str, int]] = {at: {} for at in range(len(pools))}
        self.polls = 0
        self.failed = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._http: aiohttp.ClientSession | None = None

    async def begin(self) -> None:
        connector = aiohttp.TCPConnector(limit=0)
        self._http = aiohttp.ClientSession(f"http://127.0.0.1:{self.port}", connector=connector, headers=HEADERS)
        for at, pool in enumerate(self.pools):
            self._tasks.append(asyncio.create_task(self._poll(at, pool)))
            if at % 50 == 49:
                await asyncio.sleep(0.1)
        while not all(self.known.values()):
            await asyncio.sleep(0.05)

    async def _poll(self, at: int, pool: str) -> None:
        assert self._http is not None
        number = 0
        report: dict[str, Any] = {"replica": f"r{at}", "role": ("front", "candidate", "shadow")[at % 3]}
        report["loaded"] = [f"{pool}-1", f"{pool}-2"]
        while True:
            number += 1
            body = {"report": {**report, "number": number}, "known": self.known[at], "wait_s": self.wait_s}
            try:
                async with self._http.post(f"/v1/pools/{pool}/watch", json=body) as answer:
                    found = await answer.json()
                    answer.raise_for_status()
            except (aiohttp.ClientError, OSError, ValueError):
                self.failed += 1
                await asyncio.sleep(0.5)
                continue
            self.polls += 1
            for table in found["tables"]:
                self.known[at][table["model"]] = table["epoch"]
                self.heard.setdefault((table["model"], table["epoch"]), []).append(time.perf_counter())

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._http is not None:
            await self._http.close()
