"""A preflight in the monitor's child process, killed and begun again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from monitors.jobs import JobDesk
from monitors.replay import run
from tests.monitors import past_traffic as traffic


def until(holds: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_a_preflight_whose_process_is_killed_ends_with_the_same_result(tmp_path: Path) -> None:
    made = {name: traffic.package(tmp_path / name, name) for name in ("good", "twin")}
    traffic.write(tmp_path / "log", traffic.traffic(requests=4_000))
    job = traffic.job_of(made["good"], made["twin"])
    desk = JobDesk(tmp_path / "log", tmp_path / "monitor")
    desk.take_on((job,))
    try:
        work = tmp_path / "monitor/jobs/preflight-r1/work"
        until(lambda: desk.reports() and (work / "survey.json").exists())
        assert desk.child is not None
        os.kill(desk.child.process.pid, signal.SIGKILL)

        def ended() -> bool:
            (report,) = desk.reports()
            desk.take_on((job,))
            return report.state != "running"

        until(ended)
        (report,) = desk.reports()
        assert (report.state, report.said) == ("done", "done")
        assert (work.parent / "crashes").stat().st_size == 1
        assert report.result == run(job, tmp_path / "log", tmp_path / "alone", lambda _done, _said: None)
    finally:
        desk.close()
