"""One job at a time, in a process of its own beside the monitor: started, listened to, ended; never waited for.

STATE/jobs/ID/job.json      the job, for the child
STATE/jobs/ID/work/         the runner's own: it goes on from what lies there
STATE/jobs/ID/result.json   what it found, written as a whole
STATE/jobs/ID/stderr        of the newest try
STATE/jobs/ID/crashes       a byte for each crash
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serinus.jobs import JOB_LEASE_S, RESULT_BYTES, Job, JobReport

__all__ = ["BUSY", "REFUSED", "JobDesk"]

_log = logging.getLogger(__name__)

CRASHES = 3
GRACE_S = 10.0
AGAIN_S = 2.0
"""Pause before the next try, times the number of crashes; and before the next look at a state that is in use."""
KEPT_STATES = 16
REFUSED, BUSY = 3, 75
"""Exit codes of the child: it said why it cannot be done; another process works on the same state."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_SAID = 2_000
_PIPE = 65_536


@dataclass(slots=True)
class Child:
    """A process of a job, and the read end of its pipe. `heard`: bytes of a line that is not whole yet."""

    process: subprocess.Popen[bytes]
    pipe: int
    heard: bytes = b""
    kill_at: float | None = None

    def lines(self) -> list[dict[str, Any]]:
        """What it has said since, without waiting."""
        with suppress(BlockingIOError):
            while data := os.read(self.pipe, _PIPE):
                self.heard += data
        *whole, self.heard = self.heard.split(b"\n")
        return [json.loads(line) for line in whole]

    def end(self, now: float) -> None:
        """SIGTERM to all that it started; SIGKILL after the grace, by a later call."""
        if self.kill_at is None:
            self.kill_at = now + GRACE_S
            self._signal(signal.SIGTERM)
        elif now >= self.kill_at:
            self._signal(signal.SIGKILL)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)


@dataclass(slots=True)
class JobDesk:
    """`job`, `report`: what runs here and what is to be said of it; `heard_at`: when the controller last answered.

    `clock`: monotonic seconds. `command`: what runs a job, given its folder and the log's."""

    log: Path
    state: Path
    clock: Callable[[], float] = time.monotonic
    command: tuple[str, ...] = (sys.executable, "-m", "monitors.job_child")
    job: Job | None = None
    report: JobReport | None = None
    child: Child | None = None
    heard_at: float = 0.0
    again_at: float = 0.0
    leaving: list[Child] = field(default_factory=list)

    def __post_init__(self) -> None:
        for path in (self.state / "jobs").glob("*/job.json"):  # of a monitor that was killed: they are handed out again
            with suppress(OSError, ValueError):
                if json.loads(path.read_bytes())["kind"] == "erase":
                    self._forget(path.parent)

    @property
    def free(self) -> bool:
        return self.job is None and not self.leaving

    def reports(self) -> tuple[JobReport, ...]:
        """What the controller should hear now; the same again until `take_on` has its answer. Never raises: whatever is
        wrong with a job, the rollouts want their evidence."""
        try:
            self.poll()
        except (OSError, ValueError) as error:
            _log.exception("job %s cannot be looked after", self.job and self.job.id)
            self._give_up(f"the monitor cannot look after it: {error}")
        return () if self.report is None else (self.report,)

    def take_on(self, jobs: tuple[Job, ...]) -> None:
        """The controller's answer to the last reports: the jobs that this monitor holds."""
        self.heard_at = self.clock()
        if self.job is not None and self.job.id not in {job.id for job in jobs}:
            ended = self.report is not None and self.report.state != "running"
            self._leave()
            if ended and _NAME.fullmatch(self.job.id):
                shutil.rmtree(self._folder(self.job.id), ignore_errors=True)
            self.job = self.report = None
            self._sweep()
        if self.job is None and not self.leaving and jobs:
            self.job = jobs[0]
            try:
                self._begin(self.job)
            except OSError as error:
                self._give_up(f"the monitor cannot start it: {error}")

    def poll(self) -> None:
        """Hear what the child says, start it again after a crash, end what shall end. Never waits."""
        now = self.clock()
        for child in [*self.leaving]:
            child.end(now)
            if child.process.poll() is not None:
                child.kill()  # whatever of its group is left
                os.close(child.pipe)
                self.leaving.remove(child)
        if self.job is None:
            return
        if now - self.heard_at > JOB_LEASE_S and self._open:
            _log.warning("the controller is silent: job %s is left to whom it may give it", self.job.id)
            self._leave()
            self.job = self.report = None
        elif self.child is not None:
            self._listen(self.job, self.child)
        elif self._open and now >= self.again_at and not self.leaving:
            self._try(self.job)

    def close(self) -> None:
        """End the child, within the grace. Its state stays for the next monitor."""
        self._leave()
        self.job = self.report = None
        while self.leaving:
            self.poll()
            time.sleep(0.02)

    @property
    def _open(self) -> bool:
        return self.report is not None and self.report.state == "running"

    def _give_up(self, said: str) -> None:
        self._leave()
        if self.job is not None:
            self._ended(self.job, "failed", said)

    def _folder(self, job: str) -> Path:
        return self.state / "jobs" / job

    def _leave(self) -> None:
        if self.job is not None and self.job.kind == "erase" and _NAME.fullmatch(self.job.id):
            self._forget(self._folder(self.job.id))
        if self.child is not None:
            self.child.end(self.clock())
            self.leaving.append(self.child)
            self.child = None

    def _begin(self, job: Job) -> None:
        self.report = JobReport(id=job.id, progress=job.progress, said=job.said)
        if not _NAME.fullmatch(job.id):
            self._ended(job, "failed", "its id cannot name a folder")
            return
        folder = self._folder(job.id)
        try:
            (folder / "work").mkdir(parents=True, exist_ok=True)
            (folder / "job.json").write_text(job.model_dump_json())
            os.utime(folder)
        except OSError as error:
            self._ended(job, "failed", f"the monitor cannot write its state: {error}")
            return
        self._try(job)

    def _try(self, job: Job) -> None:
        folder = self._folder(job.id)
        if (folder / "result.json").exists():  # it ended, and this monitor before it could say so
            self._finish(job)
            return
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        try:
            with (folder / "stderr").open("wb") as stderr:
                process = subprocess.Popen(
                    [*self.command, str(folder), str(self.log), str(writing), str(os.getpid())],
                    stdin=subprocess.DEVNULL,
                    stdout=stderr,
                    stderr=stderr,
                    pass_fds=(writing,),
                    start_new_session=True,
                )
        except OSError as error:
            os.close(reading)
            self._ended(job, "failed", f"its process cannot be started: {error}")
            return
        finally:
            os.close(writing)
        self.child = Child(process, reading)

    def _listen(self, job: Job, child: Child) -> None:
        code = child.process.poll()  # before the pipe: what it said last is then in there
        for line in child.lines():
            said = str(line.get("said", ""))[:_SAID]
            progress = min(1.0, max(0.0, float(line.get("progress", 0.0))))
            self.report = JobReport(id=job.id, progress=progress, said=said)
        if code is None:
            return
        child.kill()
        os.close(child.pipe)
        self.child = None
        said = self.report.said if self.report is not None else ""
        match code:
            case 0:
                self._finish(job)
            case _ if code == REFUSED:
                self._ended(job, "failed", said)
            case _ if code == BUSY:
                self.again_at = self.clock() + AGAIN_S
            case _:
                self._crashed(job, code)

    def _crashed(self, job: Job, code: int) -> None:
        folder = self._folder(job.id)
        with (folder / "crashes").open("ab") as file:
            file.write(b".")
            crashes = file.tell()
        last = _tail(folder / "stderr")
        _log.warning("job %s (%s) ended with %d, crash %d: %s", job.id, job.kind, code, crashes, last[-300:])
        if crashes >= CRASHES:
            self._ended(job, "failed", f"it ended with {code}, {crashes} times: {last}")
        else:
            self.again_at = self.clock() + AGAIN_S * crashes

    def _finish(self, job: Job) -> None:
        path = self._folder(job.id) / "result.json"
        try:
            if (size := path.stat().st_size) > RESULT_BYTES:
                self._ended(job, "failed", f"its result is {size} bytes large, at most {RESULT_BYTES} are kept")
                return
            result = json.loads(path.read_bytes())
            self.report = JobReport(id=job.id, state="done", progress=1.0, said="done", result=result)
        except (OSError, ValueError) as error:
            path.unlink(missing_ok=True)
            self._ended(job, "failed", f"its result cannot be read: {error}")

    def _ended(self, job: Job, state: Any, said: str) -> None:
        progress = self.report.progress if self.report is not None else 0.0
        self.report = JobReport(id=job.id, state=state, progress=progress, said=said[:_SAID])

    def _forget(self, folder: Path) -> None:
        """An entity that is to be erased is named nowhere for longer than it takes."""
        with suppress(OSError):
            (folder / "job.json").unlink()

    def _sweep(self) -> None:
        """Forget states that nobody came back to: all but the newest."""
        with suppress(OSError):
            folders = sorted((self.state / "jobs").iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
            for folder in folders[KEPT_STATES:]:
                shutil.rmtree(folder, ignore_errors=True)


def _tail(path: Path) -> str:
    """The last lines of a text file, at most 1,500 characters."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 6_000))
            text = file.read().decode(errors="replace")
    except OSError:
        return "it said nothing"
    return "\n".join(text.strip().splitlines()[-12:])[-1_500:] or "it said nothing"
