"""The doctor at a real stack: well, then with one fault after the other, each of which it names."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


def doctor(running: Any, *words: str) -> tuple[int, list[str], list[dict[str, Any]]]:
    """(Exit code, what is wrong, all findings)."""
    command = [sys.executable, "-m", "serinus.cli", "doctor", "--json", "--home", str(running.home.path), *words]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SERINUS_")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=plain)
    assert done.stdout, done.stderr
    findings = json.loads(done.stdout)["findings"]
    return done.returncode, [each["what"] for each in findings if each["level"] == "wrong"], findings


def until_it_says(running: Any, wrong: list[str], within_s: float = 180.0) -> list[dict[str, Any]]:
    deadline = time.monotonic() + within_s
    while (found := doctor(running))[1] != wrong:
        assert time.monotonic() < deadline, found
    assert found[0] == (1 if wrong else 0)
    return found[2]


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_it_names_each_fault_of_a_real_stack(up: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERINUS_SILENT_S", "600")  # the supervisor is not to mend what this test breaks
    running = up("--front-doors", "1")
    until_it_says(running, [])
    with stopped(running.pid("monitors")):
        (finding,) = [each for each in doctor(running)[2] if each["level"] == "wrong"]
        assert finding["what"] == "monitors hangs"
        assert f"kill -CONT {running.pid('monitors')}" in finding["do"]
    with stopped(running.pid("controller")):
        until_it_says(running, ["controller hangs"])
        code, wrong, _ = doctor(running, "--api", running.stack.api)
        assert (code, wrong) == (1, ["controller hangs"])
    os.kill(running.pid("monitors"), signal.SIGKILL)
    deadline = time.monotonic() + 120
    while not any("SIGKILL" in each["text"] for each in doctor(running)[2]):
        assert time.monotonic() < deadline
    until_it_says(running, [])
    tables = running.home.path / "controller.db"
    for name in ("controller.db", "controller.db-wal", "controller.db-shm"):
        file = running.home.path / name
        if file.exists():
            file.rename(file.with_suffix(file.suffix + ".away"))
    (finding,) = [each for each in doctor(running)[2] if each["what"] == "controller is not ready"]
    assert "database is gone" in finding["text"]
    assert finding["runbook"] == "deploy/runbooks/database-down.md"
    assert not tables.exists()
    pid = running.home.supervisor()
    os.kill(pid, signal.SIGKILL)
    (found,) = until_it_says(running, ["supervisor is dead"])
    assert "serinus up" in found["do"]
