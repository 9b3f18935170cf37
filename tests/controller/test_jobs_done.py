"""A real controller and a real monitor: what is asked for is done, also when the monitor is killed meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import controller
from serinus.client import Client
from serinus.errors import JobFailed
from serinus.jobs import JOB_ENDS
from serinus.sla import Sla

ROOT = Path(controller.__file__).parents[1]
SLA = Sla.model_validate(
    {"model": "ads", "tasks": {"click": {"label_window_s": 60, "absent": "negative"}}, "tick_s": 3600}
)
Start = Callable[..., tuple["subprocess.Popen[str]", dict[str, object]]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a process of the stack by its module; gives it with what its ready line says."""
    running: list[subprocess.Popen[str]] = []

    def started(module: str, **extra: str) -> tuple[subprocess.Popen[str], dict[str, object]]:
        env = {name: value for name, value in os.environ.items() if not name.startswith("SERINUS_")}
        env |= {"PYTHONPATH": str(ROOT), "SERINUS_HOME": str(tmp_path / "home"), **extra}
        with (tmp_path / f"{module}.err").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module], cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=log, text=True
            )
        running.append(process)
        guard = threading.Timer(60, process.kill)
        guard.start()
        assert process.stdout is not None
        line = process.stdout.readline()
        guard.cancel()
        assert line, (tmp_path / f"{module}.err").read_text()
        return process, json.loads(line)

    yield started
    for process in running:
        process.kill()
        process.wait(timeout=10)
        assert process.stdout is not None
        process.stdout.close()


def test_a_job_is_done_by_a_monitor_that_may_be_killed(start: Start, tmp_path: Path) -> None:
    _, told = start("controller", SERINUS_CONTROLLER_PORT="0")
    (tmp_path / "token").write_text("any\n")
    names = {"SERINUS_API": str(told["url"]), "SERINUS_TOKEN_FILE": str(tmp_path / "token")}
    names["SERINUS_LOG"] = str(tmp_path / "log")
    with Client(api=str(told["url"]), token="any") as client:
        client.apply(SLA)
        asked = client.plan("ads", per_day=100_000, base_rate=0.02)
        nothing = client.plan("ads")
        monitor, _ = start("monitors", **names)
        seen: list[str] = []

        def kill_once(job: object) -> None:
            seen.append(getattr(job, "state", ""))
            if seen[-1] == "running" and monitor.poll() is None:
                monitor.kill()
                monitor.wait(timeout=10)
                start("monitors", **names)

        done = client.job_wait(asked.id, kill_once)
        assert done.result is not None
        assert done.result["answers_per_day"] == 100_000
        assert done.result["guards"][0]["name"] == "click / overall / auc"
        assert done.worker == "monitor-0"
        if monitor.poll() is None:
            monitor.kill()
            start("monitors", **names)
        with pytest.raises(JobFailed, match="nothing of ads is logged"):
            client.job_wait(nothing.id)
        assert {job.state for job in client.jobs("ads")} <= JOB_ENDS
        assert not any((tmp_path / "home" / "monitor" / "jobs").glob(f"{done.id}/work"))
