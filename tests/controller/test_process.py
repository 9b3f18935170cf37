"""The real process: it says when it is ready, survives kill -9, stops cleanly, and says why it cannot start."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import controller

SLA = {"model": "ads", "tasks": {"click": {"label_window_s": 60, "absent": "negative"}}}
Started = tuple[subprocess.Popen[str], httpx.Client]


def environment(home: Path, **extra: str) -> dict[str, str]:
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("SERINUS_")},
        "PYTHONPATH": str(Path(controller.__file__).parents[1]),
        "SERINUS_HOME": str(home),
        "SERINUS_CONTROLLER_PORT": "0",
        **extra,
    }


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """run() starts a controller from another folder and gives it with a client, once it says that it is ready."""
    started: list[Started] = []

    def start(**extra: str) -> Started:
        process = subprocess.Popen(
            [sys.executable, "-m", "controller"],
            cwd=tmp_path, env=environment(tmp_path / "home", **extra), stdout=subprocess.PIPE, text=True,
            stderr=(tmp_path / "log").open("a"),
        )  # fmt: skip
        guard = threading.Timer(60, process.kill)
        guard.start()
        assert process.stdout is not None
        line = process.stdout.readline()
        guard.cancel()
        assert line, (tmp_path / "log").read_text()
        told = json.loads(line)
        assert told["ready"]
        started.append((process, httpx.Client(base_url=told["url"], timeout=30)))
        return started[-1]

    yield start
    for process, client in started:
        client.close()
        process.kill()
        process.wait(timeout=10)
        assert process.stdout is not None
        process.stdout.close()


def until(condition: Callable[[], Any], what: str, timeout_s: float = 30.0) -> Any:
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {timeout_s} s for {what}"
        time.sleep(0.05)
    return found


def test_killed_in_a_rollout_it_goes_on_after_its_restart(
    run: Any, make: Any, tmp_path: Path, build: Any, tar_of: Any
) -> None:
    process, client = run()
    client.put("/v1/models/ads", json={"sla": SLA}).raise_for_status()
    digests = []
    for note in ("a", "b"):
        content = tar_of(build(tmp_path / note, "click", note=note))
        digests.append(client.post("/v1/models/ads/versions", content=content).raise_for_status().json()["digest"])
    client.post("/v1/models/ads/promote", json={"version": 1, "initial": True}).raise_for_status()
    body = {"version": 2, "plan": make.HASTY.model_dump()}
    rollout = client.post("/v1/models/ads/rollouts", json=body).raise_for_status().json()["id"]
    for role in ("front", "candidate", "shadow"):
        report = {"replica": f"{role}-1", "role": role, "loaded": digests}
        client.post("/v1/pools/default/watch", json={"report": report, "wait_s": 0}).raise_for_status()
    until(lambda: client.get(f"/v1/rollouts/{rollout}").json()["phase"] == "shadow", "shadow")
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)

    _, client = run()
    assert client.get(f"/v1/rollouts/{rollout}").json()["phase"] == "shadow"
    assert client.get("/v1/models/ads").json()["aliases"] == {"stable": 1}
    evidence = make.evidence("satisfied", make.T0, rollout).model_dump(mode="json")
    sent = {"monitor": "m", "watermarks_ms": {"ads": make.T0}, "evidence": [evidence]}
    client.post("/v1/monitor/exchange", json=sent).raise_for_status()
    until(lambda: client.get(f"/v1/rollouts/{rollout}").json()["phase"] == "done", "done")
    assert client.get("/v1/models/ads").json()["aliases"] == {"stable": 2, "previous": 1}


def test_sigterm_ends_it_cleanly_also_while_somebody_polls(run: Any, tmp_path: Path) -> None:
    process, client = run()
    answers: list[int] = []

    def poll() -> None:
        body = {"report": {"replica": "r", "role": "front"}, "wait_s": 60}
        answers.append(client.post("/v1/pools/default/watch", json=body, timeout=60).status_code)

    thread = threading.Thread(target=poll)
    thread.start()
    with httpx.Client(base_url=client.base_url) as other:
        until(lambda: other.get("/v1/status").json()["replicas"], "the replica")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    thread.join(timeout=30)
    assert answers == [200]
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_replica_whose_connection_breaks_no_longer_counts(run: Any) -> None:
    _, client = run()
    body = {"report": {"replica": "r", "role": "front"}, "wait_s": 60}
    with httpx.Client(base_url=client.base_url) as other, pytest.raises(httpx.ReadTimeout):
        other.post("/v1/pools/default/watch", json=body, timeout=1.0)
    until(lambda: [r["live"] for r in client.get("/v1/status").json()["replicas"]] == [False], "its end")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"SERINUS_DATABASE_URL": "sqlite:////dev/null/x.db"}, "database"),
        ({"SERINUS_DATABASE_URL": "postgresql://127.0.0.1:1/none"}, "database"),
        ({"SERINUS_CONTROLLER_HOST": "0.0.0.0"}, "no token is known"),
        ({"SERINUS_CONTROLLER_PORT": "many"}, "SERINUS_CONTROLLER_PORT"),
        ({"SERINUS_TOKENS_FILE": "/nowhere"}, "/nowhere"),
        ({}, "cannot listen on"),
    ],
)
def test_what_hinders_its_start_is_said_in_one_line(tmp_path: Path, setting: dict[str, str], words: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        env = {"SERINUS_CONTROLLER_PORT": str(taken.getsockname()[1]), **setting}
        ended = subprocess.run(
            [sys.executable, "-m", "controller"], cwd=tmp_path, env=environment(tmp_path / "home", **env),
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.strip().splitlines()
    assert words in line


def test_tokens_of_the_file_rotate_without_a_restart(run: Callable[..., Started], tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"

    def give(*names: str) -> None:
        rows = [{"name": name, "role": "admin", "sha256": hashlib.sha256(name.encode()).hexdigest()} for name in names]
        file.with_suffix(".new").write_text(json.dumps(rows))
        file.with_suffix(".new").replace(file)

    def good() -> list[str]:
        asked = {name: client.get("/v1/me", headers={"authorization": f"Bearer {name}"}) for name in ("old", "new")}
        return [name for name, answer in asked.items() if answer.status_code == 200]

    give("old")
    process, client = run(SERINUS_TOKENS_FILE=str(file))
    assert good() == ["old"]
    give("old", "new")
    until(lambda: good() == ["old", "new"], "both")
    file.write_text("no list")
    until(lambda: "tokens stay as they were" in (tmp_path / "log").read_text(), "the word about the broken file")
    assert good() == ["old", "new"]
    give("new")
    until(lambda: good() == ["new"], "the new one alone")
    assert process.poll() is None


def test_an_upload_goes_on_after_the_controller_was_killed(run: Callable[..., Started]) -> None:
    content = os.urandom(3 << 20)
    body = {"digest": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    process, client = run()
    client.put("/v1/models/ads", json={"sla": SLA}).raise_for_status()
    upload = client.post("/v1/models/ads/uploads", json=body).json()["id"]
    where = f"/v1/uploads/{upload}"
    stands = client.patch(where, content=content[: 1 << 20], headers={"upload-offset": "0"}).json()["offset"]

    def slowly() -> Iterator[bytes]:
        yield content[1 << 20 : 5 << 19]
        process.kill()
        yield content[5 << 19 :]

    with pytest.raises(httpx.HTTPError):
        client.patch(where, content=slowly(), headers={"upload-offset": str(stands)})
    process.wait(timeout=30)
    _, client = run()
    found = client.get(where).json()["offset"]
    assert stands <= found < len(content)
    answer = client.patch(where, content=content[found:], headers={"upload-offset": str(found)})
    assert answer.json()["offset"] == len(content)
    assert client.post(f"{where}/finish").json()["title"] == "InvalidPackage"  # random bytes are no tar
