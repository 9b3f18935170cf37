"""One supervised process: start, ready line, pulse, end, back-off, log."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from deploy.processes import MARK, die_with_parent, end, marked
from deploy.pulse import Pulse
from deploy.settings import ProcessSpec, ready_line
from serinus.home import ProcessState

__all__ = ["Child", "backoff_s", "rotate"]

MAX_LOG_BYTES = 20 << 20
STEADY_S = 60.0
"""A process that was ready for so long has earned that its next end counts as the first."""


def backoff_s(failures: int) -> float:
    """Wait before start number `failures` + 1 in a row: 0.25 s, doubled each time, at most 15 s."""
    return min(15.0, 0.25 * 2.0 ** min(failures - 1, 10)) if failures > 0 else 0.0


def rotate(log: Path, max_bytes: int = MAX_LOG_BYTES) -> None:
    """Keep a log that has grown too long as LOG.1, and begin a new one; lines written meanwhile may be lost.

    The process goes on writing to the same file, which it has open for appending."""
    if log.is_file() and log.stat().st_size > max_bytes:
        with log.open("rb") as file:
            file.seek(-max_bytes, os.SEEK_END)
            log.with_name(log.name + ".1").write_bytes(file.read())
        os.truncate(log, 0)


class Child:
    """A process of the stack. Its log holds stdout and stderr. `now`: time.monotonic(), seconds."""

    def __init__(self, spec: ProcessSpec, stack: str, logs: Path, cwd: Path) -> None:
        self.spec, self.stack, self.cwd = spec, stack, cwd
        self.log = logs / f"{spec.name}.log"
        self.state = ProcessState(name=spec.name, state="waiting", since=time.time(), log=str(self.log))
        self.process: subprocess.Popen[bytes] | None = None
        self.failures = 0
        self._pulse: Pulse | None = None
        self._first_byte, self._read_to = 0, 0
        self._begun_at, self._next_at = 0.0, 0.0

    def start(self, now: float) -> None:
        """Start it, on a log that is not too long."""
        rotate(self.log)
        env = {**os.environ, **self.spec.env, MARK: f"{self.stack}:{self.spec.name}"}
        with self.log.open("ab") as log:
            self._first_byte = self._read_to = log.tell()
            self.process = subprocess.Popen(
                self.spec.command,
                cwd=self.cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - this process has one thread
            )
        self._begun_at = now
        self._now_is("starting", pid=self.process.pid)

    def step(self, now: float) -> None:
        """See what became of it: ready, ended, too slow; start it again when its back-off is over."""
        if self.state.state == "backing_off":
            if now >= self._next_at:
                self.start(now)
        elif self.process is not None and (code := self.process.poll()) is not None:
            self._failed(now, _ended(code))
        elif self.state.state == "starting":
            if self._said_ready():
                self._now_is("ready")
                self._pulse = Pulse(self.spec.live_url, now) if self.spec.live_url else None
            elif now > self._begun_at + self.spec.ready_within_s:
                self._failed(now, f"was not ready within {self.spec.ready_within_s:.0f} s")
        elif self.state.state == "ready":
            if self._pulse is not None:
                self._pulse.step(now)
                if (silent_s := self._pulse.silent_s(now)) > self.spec.silent_s:
                    self._failed(now, f"did not answer for {silent_s:.0f} s")
                    return
            if now > self._begun_at + STEADY_S:
                self.failures = 0

    def stop(self, grace_s: float) -> int:
        """End it and all that it started. Gives how many processes had to be killed after `grace_s`."""
        self._forget_pulse()
        killed = 0
        if self.process is not None:
            self._now_is("stopping", pid=self.process.pid)
            self.process.terminate()
            try:
                self.process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                killed = 1
            killed += self._end_rest(grace_s=2.0)
        self._now_is("stopped")
        return killed

    def tail(self, lines: int = 15) -> str:
        """The last lines of this start's log."""
        with self.log.open("rb") as file:
            file.seek(max(self._first_byte, self.log.stat().st_size - 8192))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])

    def _failed(self, now: float, why: str) -> None:
        self._forget_pulse()
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
        self._end_rest(grace_s=1.0)
        self.failures += 1
        self._next_at = now + backoff_s(self.failures)
        self._now_is("backing_off", ended=why, restarts=self.state.restarts + 1)

    def _forget_pulse(self) -> None:
        if self._pulse is not None:
            self._pulse.close()
            self._pulse = None

    def _end_rest(self, grace_s: float) -> int:
        """End what the process left behind: its group, and whoever carries its mark."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGTERM)
        return end(marked(self.stack, self.spec.name), grace_s)

    def _said_ready(self) -> bool:
        self._read_to = min(self._read_to, self.log.stat().st_size)  # the log may have been rotated
        with self.log.open("rb") as file:
            file.seek(self._read_to)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read_to += len(whole)
        return any(ready_line(line) for line in whole.splitlines())

    def _now_is(self, state: str, **more: object) -> None:
        changes = {"pid": None, "since": time.time(), **more, "state": state}
        if state == "ready":
            changes["pid"] = self.state.pid
        self.state = self.state.model_copy(update=changes)


def _ended(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
