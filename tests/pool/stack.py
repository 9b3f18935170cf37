"""One real pool on Ray Serve behind HAProxy, as a process, and what a client and an operator see of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil

from serinus.records import LabelRow, Mark, PredictionRow, read_rows
from serinus.routes import PackageRef, RouteTable
from tests.pool.controller import StandInController
from tests.pool.processes import command_lines, descendants

ROOT = Path(__file__).resolve().parents[2]


def wait_for(condition: Callable[[], Any], within_s: float = 20.0) -> Any:
    """The first true value of `condition()`; fails when there is none in time."""
    deadline = time.monotonic() + within_s
    while True:
        if found := condition():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s")
        time.sleep(0.02)


class Stack:
    """`python -m serving` as a process, and what a client and an operator see of it."""

    def __init__(self, folder: Path, packages: dict[int, PackageRef], wait: bool = True, **settings: str) -> None:
        """`settings`: further environment variables, or others than those below. `wait`: until it is ready."""
        self.packages, self.folder = packages, folder
        self.log = Path(settings.get("SERINUS_LOG", folder / "log"))
        self.controller = StandInController()
        self.epoch = 0
        self.port = free_port()
        (folder / "token").write_text("replica-token")
        env = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SERINUS_HOME": str(folder / "home"),
            "SERINUS_API": self.controller.url,
            "SERINUS_TOKEN_FILE": str(folder / "token"),
            "SERINUS_LOG": str(self.log),
            "SERINUS_HTTP_PORT": str(self.port),
            "SERINUS_GRPC_PORT": str(free_port()),
            "SERINUS_FRONT_DOORS": "2",
            "SERINUS_REPLAY_TOKEN_SHA256": "ac203c9843b5bd8c883e07039ff82820c94422010be6108bb82403ca25376a22",
            **settings,
        }
        self._errors = (folder / "stderr.txt").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "serving"], env=env, cwd=folder, stdout=subprocess.PIPE, stderr=self._errors
        )
        self.http = httpx.Client(timeout=20.0, trust_env=False)
        if wait:
            self.until_ready()

    def until_ready(self) -> None:
        """Wait for the ready line; `ready` is what it says. Raises AssertionError with its last words."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.controller.stop()
            raise AssertionError((self.folder / "stderr.txt").read_text()[-3000:])
        self.ready = json.loads(line)["ready"]
        self.http.base_url = self.ready["url"]

    def route(self, within_s: float = 30.0, **fields: Any) -> RouteTable:
        """Put a new table of model flights; returns once every replica has applied it."""
        self.epoch += 1
        both = {"stable": {"late": 1, "cancelled": 1}, "packages": self.packages, "salt": "s", "slices": ("origin",)}
        table = RouteTable.model_validate({"model": "flights", "epoch": self.epoch, **both, **fields})
        self.controller.put(table)
        wait_for(lambda: self.applied_by("front") == [self.epoch] * 2, within_s)
        wait_for(lambda: self.epoch in self.applied_by("candidate"), within_s)
        wait_for(lambda: self.epoch in self.applied_by("shadow"), within_s)
        return table

    def applied_by(self, role: str) -> list[int]:
        """Epochs of the replicas of that role that are alive."""
        alive = {str(process.pid) for process in self.replicas()}
        return [
            report.applied.get("flights", 0)
            for report in list(self.controller.reports.values())
            if report.role == role and report.replica.split("-")[1] in alive
        ]

    def replicas(self, name: str = "") -> list[psutil.Process]:
        lines = command_lines(descendants(self.process.pid))
        return [process for process, line in lines if f"ray::ServeReplica:serinus:{name}" in line]

    def infer(self, origin: str = "EWR", delay: float | None = 3.0, hour: float = 7.0, **more: Any) -> dict[str, Any]:
        answer = self.http.post("/v2/models/flights/infer", json=request([origin], [delay], [hour], **more))
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def predictions(self) -> list[PredictionRow]:
        """Rows of every answer that was given before the call."""
        self._settle()
        return read_log(self.log, "predictions", PredictionRow)

    def labels(self) -> list[LabelRow]:
        return read_log(self.log, "labels", LabelRow)

    def marks(self) -> list[Mark]:
        return [msgspec.json.decode(p.read_bytes(), type=Mark) for p in self.log.glob("marks/flights/*.json")]

    def _settle(self, within_s: float = 15.0) -> None:
        """Until each writer that lives has written a mark: it comes after every row that was recorded before it."""
        now_ms, deadline = time.time() * 1000, time.monotonic() + within_s
        while time.monotonic() < deadline:
            alive = {str(process.pid) for process in self.replicas("FrontDoor")}
            marks = [mark for mark in self.marks() if not mark.ended]
            sure = {mark.writer.split("-")[1] for mark in marks if mark.wall_ms >= now_ms}
            if alive <= sure and not any(now_ms - 5_000 < mark.wall_ms < now_ms for mark in marks):
                return
            time.sleep(0.02)

    def stop(self) -> int:
        """Ask it to stop; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.http.close()
        self.controller.stop()
        self._errors.close()
        return code


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def request(origins: list[Any], delays: list[Any], hours: list[Any], **more: Any) -> dict[str, Any]:
    """An inference request. `id`, `outputs`: as in the protocol; entity and event_time_ms become parameters."""
    parameters = {key: more.pop(key) for key in ("entity", "event_time_ms") if key in more}
    rows = len(origins)
    return {
        "inputs": [
            {"name": "origin", "shape": [rows], "datatype": "BYTES", "data": origins},
            {"name": "delay", "shape": [rows], "datatype": "FP32", "data": delays},
            {"name": "hour", "shape": [rows], "datatype": "FP32", "data": hours},
        ],
        **({"parameters": parameters} if parameters else {}),
        **more,
    }


def read_log(root: Path, kind: str, row: type[Any]) -> list[Any]:
    return [
        msgspec.msgpack.decode(payload, type=row)
        for path in sorted(root.glob(f"{kind}/*/*/*.log"))
        for _end, payload in read_rows(path.read_bytes())
    ]
