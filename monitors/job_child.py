"""`python -m monitors.job_child FOLDER LOG FD PARENT`: one job, by the runner of its kind. Started by `monitors.jobs`.

It yields the processor to everybody else (nice), dies with its monitor, and says how far it is as lines of JSON on FD.
Exit codes: 0: `result.json` is written; REFUSED: its last line says why it cannot be done; BUSY: another process works
on the same state; anything else is a crash.
"""

from __future__ import annotations

import ctypes
import fcntl
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from monitors.jobs import BUSY, REFUSED
from serinus.errors import BadInput, SerinusError
from serinus.jobs import Job, JobKind

__all__ = ["RUNNERS", "Progress", "Runner"]

Progress = Callable[[float, str], None]
"""How far it is, 0 to 1, and what it does, in a few words. Cheap: it says so a few times a second."""
Runner = Callable[[Job, Path, Path, Progress], dict[str, Any]]
"""(job, folder of the logs, folder of its state, progress) -> result. It may be ended at any moment (SIGTERM raises
SystemExit in it) and is then started again, with the state that it left."""

RUNNERS: dict[JobKind, str] = {
    "preflight": "monitors.replay:run",
    "plan": "monitors.plan:run",
    "backtest": "monitors.backtest:run",
    "recompute": "monitors.recompute:run",
    "erase": "monitors.erase:run",
}
NICE = 10
EVERY_S = 0.2
_SAID = 500
_PR_SET_PDEATHSIG = 1


def runner_of(kind: JobKind) -> Runner:
    """Raises BadInput when this installation has none."""
    module, _, name = RUNNERS[kind].partition(":")
    try:
        found: Runner = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise BadInput(f"this monitor cannot do jobs of kind {kind}") from error
    return found


def main(folder: Path, log: Path, fd: int, parent: int) -> int:
    _bind(parent)
    os.nice(NICE)
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    say = _Said(fd)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return BUSY
        try:
            job = Job.model_validate_json((folder / "job.json").read_bytes())
            result = runner_of(job.kind)(job, log, folder / "work", say.progress)
        except SerinusError as error:
            say.line(say.done, error.detail)
            return REFUSED
        _write_whole(folder / "result.json", to_json(result, inf_nan_mode="strings"))
    return 0


class _Said:
    """Lines on a pipe that never makes us wait: what does not fit is not said."""

    def __init__(self, fd: int) -> None:
        self.fd, self.done, self.at = fd, 0.0, 0.0

    def progress(self, done: float, said: str) -> None:
        self.done = done
        if time.monotonic() - self.at >= EVERY_S:
            self.at = time.monotonic()
            self.line(done, said)

    def line(self, done: float, said: str) -> None:
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(self.fd, json.dumps({"progress": done, "said": said[:_SAID]}).encode() + b"\n")


def _bind(parent: int) -> None:
    """End when the monitor ends, however it does."""
    with suppress(OSError, AttributeError):  # Linux only
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(128 + signal.SIGKILL)


def _write_whole(path: Path, data: bytes) -> None:
    beside = path.with_suffix(".new")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
