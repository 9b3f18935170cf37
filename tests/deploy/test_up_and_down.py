"""`serinus up` and `serinus down`, as typed, over stand-in rooms."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from typing import Any

import pytest

Stack = Any
PORTS = ("--controller-port", "0", "--serving-port", "0")


@pytest.fixture
def serinus(stack: Stack) -> Any:
    """Run a command with the stand-in rooms: the finished process."""

    def run(*words: str, **habits: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "serinus.cli", *words],
            check=False,
            env=environment(stack, **habits),
            cwd=stack.site,
            capture_output=True,
            text=True,
            timeout=240,
        )

    yield run
    run("down")


def environment(stack: Stack, **habits: str) -> dict[str, str]:
    """Only `serinus` is on the path: the rooms must be found by the command itself."""
    env = {name: value for name, value in stack.env.items() if name not in {"SERINUS_API", "SERINUS_SERVING"}}
    return {**env, "PYTHONPATH": str(stack.site)} | {f"STAND_IN_{name.upper()}": it for name, it in habits.items()}


def test_up_goes_to_the_background_when_ready_and_down_leaves_nothing(stack: Stack, serinus: Any) -> None:
    up = serinus("up", *PORTS)
    assert up.returncode == 0, up.stderr
    assert stack.home.stack().api in up.stdout
    assert os.getsid(stack.home.supervisor()) != os.getsid(0)
    processes = json.loads(serinus("status", "--json").stdout)["processes"]["processes"]
    assert [each["name"] for each in processes] == ["controller", "serving", "monitors"]
    assert serinus("token").stdout.strip() == stack.home.stack().token_file
    down = serinus("down")
    assert down.returncode == 0
    assert stack.processes() == []
    assert stack.home.stack() is None
    assert "no stack runs" in serinus("down").stdout


def test_a_second_up_is_refused_with_what_to_do(stack: Stack, serinus: Any) -> None:
    serinus("up", *PORTS)
    first = stack.home.stack()
    again = serinus("up", *PORTS)
    assert again.returncode == 1
    assert "runs in" in again.stderr
    assert "serinus down" in again.stderr
    assert stack.home.stack() == first


def test_up_says_which_port_is_taken_and_by_which_option_to_change_it(stack: Stack, serinus: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        up = serinus("up", "--controller-port", port, "--serving-port", "0")
    assert up.returncode == 1
    assert f"port {port} of the controller is taken" in up.stderr
    assert "--controller-port" in up.stderr


def test_up_shows_the_last_lines_of_a_process_that_does_not_start(stack: Stack, serinus: Any) -> None:
    up = serinus("up", *PORTS, serving="refuses")
    assert up.returncode == 1
    assert "serving cannot find its database" in up.stderr
    assert stack.processes() == []


def test_status_says_that_a_stack_has_crashed_and_down_clears_up(stack: Stack, serinus: Any, wait_for: Any) -> None:
    serinus("up", *PORTS, monitors="family")
    wait_for(lambda: len(stack.processes()) == 4)
    os.kill(stack.home.supervisor(), signal.SIGKILL)
    wait_for(lambda: stack.home.supervisor() is None)
    status = serinus("status")
    assert status.returncode == 1
    assert "has died" in status.stdout
    assert serinus("down").returncode == 0
    assert stack.processes() == []


def test_ctrl_c_while_starting_stops_what_was_begun(stack: Stack, wait_for: Any) -> None:
    command = [sys.executable, "-m", "serinus.cli", "up", *PORTS]
    up = subprocess.Popen(
        command, env=environment(stack, serving="mute"), cwd=stack.site, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: stack.starts("serving") == 1)
    up.send_signal(signal.SIGINT)
    _, said = up.communicate(timeout=240)
    assert up.returncode == 130
    assert "Traceback" not in said
    assert stack.processes() == []
    assert stack.home.supervisor() is None


def test_in_the_foreground_the_command_is_the_supervisor(stack: Stack, wait_for: Any) -> None:
    command = [sys.executable, "-m", "serinus.cli", "up", "--foreground", *PORTS]
    up = subprocess.Popen(command, env=environment(stack), cwd=stack.site, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: stack.home.stack() is not None)
    assert stack.home.supervisor() == up.pid
    up.send_signal(signal.SIGINT)
    _, said = up.communicate(timeout=240)
    assert up.returncode == 0
    assert "ready: http" in said
    assert stack.processes() == []
