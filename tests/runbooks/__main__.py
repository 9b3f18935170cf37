"""`python -m tests.runbooks [RUNBOOK...]`: injects the fault of a runbook into a real local stack, runs its console
blocks, and prints a table: runbook, fault, steps run, whether they said what is wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from serinus.client import Client
from serinus.home import Home
from serinus.rollouts import Phase
from tests.alerts.test_live import until
from tests.alerts.traffic import GOOD, MODEL, OTHER, SLA, package
from tests.e2e.conftest import Running, serinus
from tests.runbooks.tried import FAULTS, PAGES, blocks

SAYS = {
    "no-active-controller": "controller hangs",
    "target-down": "monitors hangs",
    "promotion-held": "waits for `resume`",
}
"""What one of the commands at least must say."""
WITHIN_S, ANSWER_S = 60.0, 60.0


def main(wanted: list[str]) -> int:
    """0 when every runbook named (default: all with a fault) was of use."""
    rows: list[tuple[str, str, int, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        os.environ["SERINUS_SILENT_S"] = "600"  # the supervisor is not to mend what is broken here
        serinus(home, "up", "--controller-port", "0", "--serving-port", "0", "--front-doors", "1")
        try:
            with Client(home=home, replay=True) as client:
                running = Running(Home(home), client)
                _prepare(client, Path(folder))
                for page in wanted or FAULTS:
                    steps, result = _try(running, page)
                    rows.append((page, FAULTS[page], steps, result))
        finally:
            serinus(home, "down")
    print("\n| runbook | fault | commands | result |\n|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    return int(any(row[3] != "as written" for row in rows))


def _prepare(client: Client, folder: Path) -> None:
    """A model with a stable version, and a rollout in its shadow."""
    client.apply(SLA)
    client.promote(MODEL, client.push(MODEL, package(folder, GOOD)).version, reason="first", initial=True)
    other = client.push(MODEL, package(folder, OTHER)).version
    rollout = client.rollout_start(MODEL, other, None, "a try").id
    until(lambda: client.rollout(rollout).phase is Phase.SHADOW, "shadow", 120)


def _try(running: Running, page: str) -> tuple[int, str]:
    """(Commands run, "as written" or what was amiss)."""
    with INJECT[page](running):
        deadline = time.monotonic() + WITHIN_S
        while True:
            commands = list(blocks(PAGES[page], MODEL))
            said = [_run(running.home.path, *words) for words in commands]
            for words, text in zip(commands, said, strict=True):
                print(f"[{page}] $ serinus {' '.join(words)}\n{text}", flush=True)
            if SAYS[page] in " ".join("\n".join(said).split()):
                return len(said), "as written"
            if time.monotonic() > deadline:
                return len(said), f"nothing of {SAYS[page]!r} was said"


def _run(home: Path, *words: str) -> str:
    told = {name: value for name, value in os.environ.items() if not name.startswith("SERINUS_")}
    command = [sys.executable, "-m", "serinus.cli", *words]
    env = {**told, "SERINUS_HOME": str(home), "COLUMNS": "160"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=env, check=False, timeout=ANSWER_S)
    except subprocess.TimeoutExpired:
        return f"no answer within {ANSWER_S:.0f} s"
    return done.stdout + done.stderr


@contextmanager
def _controller_stopped(running: Running) -> Iterator[None]:
    yield from _stopped(running, "controller")


@contextmanager
def _monitor_stopped(running: Running) -> Iterator[None]:
    yield from _stopped(running, "monitors")


def _stopped(running: Running, process: str) -> Iterator[None]:
    pid = running.pid(process)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def _paused(running: Running) -> Iterator[None]:
    _run(running.home.path, "rollout", "pause", MODEL, "--reason", "a try")
    try:
        yield
    finally:
        print(_run(running.home.path, "rollout", "resume", MODEL))  # step 3 of the runbook


INJECT: dict[str, Callable[[Running], AbstractContextManager[None]]] = {
    "promotion-held": _paused,
    "target-down": _monitor_stopped,
    "no-active-controller": _controller_stopped,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
