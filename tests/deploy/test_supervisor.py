"""The supervisor of the local stack, over small stand-in processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from deploy.child import backoff_s, rotate
from deploy.settings import ready_line
from deploy.tokens import sha256_hex
from tests.pool.processes import has_ended

Stack = Any


def test_it_starts_the_controller_first_and_says_where_the_stack_answers(stack: Stack) -> None:
    stack.up()
    found = stack.home.stack()
    assert found.api.startswith("http://127.0.0.1:")
    assert found.serving != found.api
    assert [each.state for each in stack.state.processes] == ["ready"] * 3
    begun = {name: (stack.home.path / f"starts-{name}").stat().st_mtime_ns for name in ("controller", "serving")}
    assert begun["controller"] < begun["serving"]


def test_each_process_gets_the_settings_that_it_needs_and_only_its_own_token(stack: Stack) -> None:
    stack.up()
    told = {
        name: json.loads((stack.home.path / f"starts-{name}").read_text().splitlines()[0])
        for name in ("controller", "serving", "monitors")
    }
    found = stack.home.stack()
    assert all(env["SERINUS_API"] == found.api for env in told.values())
    assert Path(told["serving"]["SERINUS_TOKEN_FILE"]).name == "replica.token"
    assert Path(told["monitors"]["SERINUS_TOKEN_FILE"]).name == "monitor.token"
    assert "SERINUS_TOKEN_FILE" not in told["controller"]
    hashes = json.loads(Path(told["controller"]["SERINUS_TOKENS_FILE"]).read_text())
    assert {each["role"] for each in hashes} == {"admin", "replica", "monitor"}
    assert sha256_hex(Path(found.token_file)) in {each["sha256"] for each in hashes}
    assert told["serving"]["SERINUS_REPLAY_TOKEN_SHA256"] == sha256_hex(Path(found.replay_token_file))
    assert told["serving"]["PYTHONPATH"].split(os.pathsep)[0].endswith("serinus/_rooms")


def test_tokens_are_readable_by_their_owner_alone_and_kept(stack: Stack) -> None:
    stack.up()
    files = sorted(stack.home.tokens.iterdir())
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    assert stat.S_IMODE(stack.home.tokens.stat().st_mode) == 0o700
    before = [file.read_text() for file in files]
    stack.end()
    stack.up()
    assert [file.read_text() for file in files] == before


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all_in_reverse_and_leaves_nothing(stack: Stack, which: signal.Signals) -> None:
    supervisor = stack.up()
    supervisor.send_signal(which)
    _, said = supervisor.communicate(timeout=120)
    assert supervisor.returncode == 0, said
    assert stack.home.stack() is None
    assert stack.state.phase == "stopped"
    assert stack.processes() == []
    assert stack.home.supervisor() is None


def test_a_process_that_dies_is_started_again_and_counted(stack: Stack, wait_for: Any) -> None:
    stack.up()
    first = stack.pid("serving")
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: stack.pid("serving") not in {None, first} and stack.state.processes[1].state == "ready")
    serving = stack.state.processes[1]
    assert serving.restarts == 1
    assert "SIGKILL" in serving.ended
    assert [each.restarts for each in stack.state.processes] == [0, 1, 0]
    assert stack.home.stack() is not None


@pytest.mark.parametrize("name", ["controller", "serving"])
def test_a_process_that_hangs_is_started_again(stack: Stack, wait_for: Any, name: str) -> None:
    stack.env["SERINUS_SILENT_S"] = "5"
    stack.up()
    first = stack.pid(name)
    os.kill(first, signal.SIGSTOP)  # it takes connections still, and never answers

    def found() -> Any:
        return next(each for each in stack.state.processes if each.name == name)

    wait_for(lambda: found().pid not in {None, first} and found().state == "ready")
    assert "did not answer for" in found().ended
    assert [each.restarts for each in stack.state.processes] == [
        int(each.name == name) for each in stack.state.processes
    ]


def test_a_supervisor_that_was_stopped_itself_suspects_nobody(stack: Stack, wait_for: Any) -> None:
    stack.env["SERINUS_SILENT_S"] = "1"
    supervisor = stack.up()
    os.kill(supervisor.pid, signal.SIGSTOP)
    time.sleep(4.0)
    os.kill(supervisor.pid, signal.SIGCONT)
    asked = time.monotonic()
    wait_for(lambda: time.monotonic() > asked + 4.0)
    assert [each.restarts for each in stack.state.processes] == [0, 0, 0]


def test_how_long_a_process_may_hang_is_a_whole_number(stack: Stack) -> None:
    stack.env["SERINUS_SILENT_S"] = "soon"
    supervisor = stack.start()
    _, said = supervisor.communicate(timeout=120)
    assert supervisor.returncode == 1
    assert "SERINUS_SILENT_S" in said


def test_what_a_dead_process_left_is_ended_before_it_is_started_again(stack: Stack, wait_for: Any) -> None:
    stack.up(serving="family")
    wait_for(lambda: len(stack.processes()) == 4)
    family = {process.pid for process in stack.processes()}
    os.kill(stack.pid("serving"), signal.SIGKILL)
    wait_for(lambda: stack.starts("serving") == 2 and len(stack.processes()) == 4)
    assert len(family & {process.pid for process in stack.processes()}) == 2


def test_children_of_children_that_ignore_signals_are_killed_at_the_end(stack: Stack, wait_for: Any) -> None:
    supervisor = stack.up(serving="family")
    wait_for(lambda: len(stack.processes()) == 4)
    supervisor.terminate()
    _, said = supervisor.communicate(timeout=120)
    assert supervisor.returncode == 0
    assert "had to be killed" in said
    assert stack.processes() == []


def test_a_supervisor_that_is_killed_takes_its_processes_along_and_the_next_one_clears_up(
    stack: Stack, wait_for: Any
) -> None:
    supervisor = stack.up(serving="family")
    wait_for(lambda: len(stack.processes()) == 4)
    supervisor.kill()
    supervisor.communicate()
    wait_for(lambda: len(stack.processes()) == 1)
    (orphan,) = stack.processes()
    assert stack.home.stack() is not None
    assert stack.home.supervisor() is None
    stack.up()
    assert has_ended(orphan)
    assert stack.home.stack().pid == stack.home.supervisor()


def test_a_second_stack_in_one_home_is_refused_and_the_first_goes_on(stack: Stack) -> None:
    stack.up()
    second = stack.start()
    _, said = second.communicate(timeout=120)
    assert second.returncode == 1
    assert "runs in" in said
    assert "serinus down" in said
    assert stack.state.phase == "ready"


def test_a_port_that_is_taken_is_named_with_the_option_that_changes_it(stack: Stack) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        supervisor = stack.start("--serving-port", str(port))
        _, said = supervisor.communicate(timeout=120)
    assert supervisor.returncode == 1
    assert f"port {port} of the serving side is taken by process {os.getpid()}" in said
    assert "--serving-port" in said
    assert stack.state.phase == "failed"
    assert stack.starts("controller") == 0


def test_a_process_that_cannot_start_fails_the_stack_with_its_last_lines(stack: Stack) -> None:
    supervisor = stack.start(serving="refuses")
    _, said = supervisor.communicate(timeout=120)
    assert supervisor.returncode == 1
    assert "serving cannot find its database" in said
    assert "serving.log" in said
    assert stack.state.phase == "failed"
    assert "exit code 1" in stack.state.problem
    assert stack.processes() == []


def test_a_stack_that_is_still_starting_can_be_stopped(stack: Stack, wait_for: Any) -> None:
    supervisor = stack.start(serving="mute")
    wait_for(lambda: stack.starts("serving") == 1)
    supervisor.terminate()
    supervisor.communicate(timeout=120)
    assert supervisor.returncode == 0
    assert stack.home.stack() is None
    assert stack.processes() == []


def test_cleaning_ends_what_a_crash_left_and_starts_nothing(stack: Stack, wait_for: Any) -> None:
    supervisor = stack.up(monitors="family")
    wait_for(lambda: len(stack.processes()) == 4)
    supervisor.kill()
    supervisor.communicate()
    cleaner = stack.start("--clean")
    cleaner.communicate(timeout=120)
    assert cleaner.returncode == 0
    assert stack.processes() == []
    assert stack.home.stack() is None


def test_waits_between_starts_double_up_to_a_bound() -> None:
    assert [backoff_s(n) for n in range(5)] == [0.0, 0.25, 0.5, 1.0, 2.0]
    assert backoff_s(1_000) == 15.0


def test_a_long_log_is_kept_by_its_end_while_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "serving.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"old " * 50 + b"new")
        rotate(log, max_bytes=100)
        writer.write(b"after")
    assert log.read_bytes() == b"after"
    assert (tmp_path / "serving.log.1").read_bytes().endswith(b"old new")
    assert (tmp_path / "serving.log.1").stat().st_size == 100
    rotate(log, max_bytes=100)
    assert log.read_bytes() == b"after"


def test_only_a_line_that_says_ready_is_one() -> None:
    assert ready_line(b'{"ready": {"port": 1}}')
    assert ready_line(b'{"ready": true}')
    assert not ready_line(b'{"ready": false}')
    assert not ready_line(b'{"ready": tr')
    assert not ready_line(b'(worker) {"ready": true}')
