"""Stacks of stand-in rooms: small processes that say they are ready, laid out as the wheel lays out the real ones."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deploy.processes import marked
from serinus.home import Home, StackState

REPOSITORY = Path(__file__).parents[2]

STAND_IN = """
import http.server, json, os, signal, subprocess, sys, threading, time
from pathlib import Path
name = {name!r}
habits = os.environ.get("STAND_IN_" + name.upper(), "").split()
with open(Path(os.environ["SERINUS_HOME"]) / f"starts-{{name}}", "a") as starts:
    starts.write(json.dumps(dict(os.environ)) + "\\n")
if "refuses" in habits:
    sys.exit(f"{{name}} cannot find its database")
signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in habits else lambda *_: sys.exit(0))
if "family" in habits:
    loop = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", loop], start_new_session=True)
class Live(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
port = {{"controller": "SERINUS_CONTROLLER_PORT", "serving": "SERINUS_HTTP_PORT"}}.get(name)
if port:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ[port])), Live)
    threading.Thread(target=server.serve_forever, daemon=True).start()
print("some other line", flush=True)
if "mute" not in habits:
    print(json.dumps({{"ready": {{"name": name}}}}), flush=True)
while True:
    time.sleep(0.05)
"""


def until(what: Callable[[], object], why: str = "the condition holds", within_s: float = 90.0) -> None:
    """Wait for a condition; fails with `why` after `within_s`."""
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, f"not within {within_s} s: {why}"
        time.sleep(0.02)


class StandInStack:
    """`python -m deploy.local` over stand-in rooms. `path`: what `up` puts on PYTHONPATH is beside it."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.site = folder / "site"
        shutil.copytree(REPOSITORY / "serinus", self.site / "serinus", ignore=shutil.ignore_patterns("__pycache__"))
        rooms = self.site / "serinus" / "_rooms"
        shutil.copytree(REPOSITORY / "deploy", rooms / "deploy", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("controller", "serving", "monitors"):
            (rooms / name).mkdir()
            (rooms / name / "__init__.py").touch()  # else a package of that name in a checkout would win
            (rooms / name / "__main__.py").write_text(STAND_IN.format(name=name))
        path = os.pathsep.join([str(rooms), str(self.site)])
        self.env = {**os.environ, "PYTHONPATH": path, "SERINUS_HOME": str(self.home.path)}
        self.supervisors: list[subprocess.Popen[str]] = []

    def start(self, *options: str, **habits: str) -> subprocess.Popen[str]:
        """Start a supervisor on free ports. `habits`: of the stand-ins, by their names."""
        command = [sys.executable, "-m", "deploy.local", "--controller-port", "0", "--serving-port", "0", *options]
        env = self.env | {f"STAND_IN_{name.upper()}": habit for name, habit in habits.items()}
        process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True, cwd=self.site)
        self.supervisors.append(process)
        return process

    def up(self, *options: str, **habits: str) -> subprocess.Popen[str]:
        process = self.start(*options, **habits)
        until(lambda: self._is_up(process.pid) or process.poll() is not None, "the stack is ready")
        assert process.poll() is None, process.communicate()[1]
        return process

    def _is_up(self, pid: int) -> bool:
        found = self.home.stack()
        return found is not None and found.pid == pid

    @property
    def state(self) -> StackState:
        state = self.home.state()
        assert state is not None
        return state

    def pid(self, name: str) -> int | None:
        return {each.name: each for each in self.state.processes}[name].pid

    def starts(self, name: str) -> int:
        file = self.home.path / f"starts-{name}"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def processes(self) -> list[psutil.Process]:
        return marked(self.state.stack) if self.home.state() else []

    def end(self) -> None:
        for process in self.supervisors:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=240)
        if (pid := self.home.supervisor()) is not None:  # one that a command started
            os.kill(pid, signal.SIGTERM)
            until(lambda: self.home.supervisor() is None, "the supervisor has ended")


@pytest.fixture
def wait_for() -> Callable[..., None]:
    return until


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[StandInStack]:
    """Stand-in rooms; whatever the test left running is ended, and nothing may be left then."""
    made = StandInStack(tmp_path)
    yield made
    made.end()
    left = made.processes()
    for process in left:
        process.kill()
    assert not left
