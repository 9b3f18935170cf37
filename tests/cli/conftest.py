"""A server that answers what a test tells it to, and small packages."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from serinus.home import Home, Stack, write_whole
from serinus.package import write_manifest

ROOT = Path(__file__).parents[2]


@dataclass
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Scripted:
    """Answers each request by the next entry of its path's script, the last one again and again.

    An entry is (status, JSON), (status, bytes), or None: the connection is cut."""

    url: str = ""
    scripts: dict[str, list[Any]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    content_type: str = ""

    def on(self, path: str, *answers: Any) -> None:
        self.scripts[path] = list(answers)

    def asked(self, path: str) -> list[Seen]:
        return [each for each in self.seen if each.path.split("?")[0] == path]


@pytest.fixture
def server() -> Iterator[Scripted]:
    """A server on a free port."""
    scripted = Scripted()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            scripted.seen.append(Seen(self.command, self.path, headers, body))
            script = scripted.scripts.get(self.path.split("?")[0], [(404, b"no such backend")])
            answer = script.pop(0) if len(script) > 1 else script[0]
            if answer is None:
                self.close_connection = True
                return
            status, said = answer
            data = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            if scripted.content_type:
                self.send_header("content-type", scripted.content_type)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do  # noqa: N815 - names that http.server looks for

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        scripted.url = f"http://127.0.0.1:{http.server_address[1]}"
        yield scripted
        http.shutdown()


@pytest.fixture
def home(server: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A state folder whose stack is the scripted server, for both sides."""
    for name in ("SERINUS_API", "SERINUS_SERVING", "SERINUS_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    found = Home(tmp_path / "home")
    found.path.mkdir()
    files = {}
    for name in ("admin", "replay"):
        files[name] = found.path / f"{name}.token"
        files[name].write_text(f"{name}-token\n")
    stack = Stack(
        stack="1",
        pid=1,
        api=server.url,
        serving=server.url,
        token_file=str(files["admin"]),
        replay_token_file=str(files["replay"]),
    )
    write_whole(found.stack_file, stack)
    return found


@dataclass(frozen=True)
class RealController:
    """A controller process of its own, with its database, a file; `token`: an admin's."""

    url: str
    token: str
    database: Path
    process: subprocess.Popen[str]


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealController]:
    """The real process, on a free port, with SQLite."""
    with running(tmp_path_factory.mktemp("controller")) as found:
        yield found


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealController]:
    """Another one, that knows nothing of the first."""
    with running(tmp_path_factory.mktemp("elsewhere")) as found:
        yield found


@contextmanager
def running(home: Path) -> Iterator[RealController]:
    """A controller process with its state in `home`."""
    token = "an-admin-of-the-tests-0123456789"
    known = [{"name": "root", "role": "admin", "sha256": hashlib.sha256(token.encode()).hexdigest()}]
    (home / "tokens.json").write_text(json.dumps(known))
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SERINUS_")}
    settings = {"SERINUS_HOME": str(home), "SERINUS_CONTROLLER_PORT": "0"}
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "controller"],
            cwd=home,
            env={**plain, **settings, "SERINUS_TOKENS_FILE": str(home / "tokens.json"), "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    guard = threading.Timer(60, process.kill)
    guard.start()
    assert process.stdout is not None
    line = process.stdout.readline()
    guard.cancel()
    assert line, (home / "log").read_text()
    yield RealController(json.loads(line)["url"], token, home / "controller.db", process)
    process.terminate()
    process.wait(30)
    process.stdout.close()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder with a manifest that lists its files (the graph is not one: only the controller looks into it)."""
    return make_package(tmp_path / "package")


@pytest.fixture
def new_package() -> Callable[[Path], Path]:
    return make_package


def make_package(folder: Path) -> Path:
    (folder / "parts").mkdir(parents=True)
    (folder / "parts" / "head.onnx").write_bytes(bytes(range(256)) * 5)
    for name in ("sample.json", "baseline.json"):
        (folder / name).write_text("{}")
    part = {"name": "head", "role": "head", "file": "parts/head.onnx", "inputs": ["age"], "outputs": ["p"]}
    manifest = {
        "inputs": [{"name": "age", "datatype": "FP32"}],
        "parts": [part],
        "tasks": [{"name": "click", "kind": "binary", "output": "p", "base_rate": 0.5}],
    }
    write_manifest(folder, manifest)
    return folder


@pytest.fixture
def looks() -> Callable[..., dict[str, Any]]:
    """A page of evidence with looks at these ticks."""

    def page(*ticks: int) -> dict[str, Any]:
        plain = {"rollout": "r1", "model": "ads", "baseline": 1, "candidate": 2, "first_event_ms": None, "e": 0.0}
        rest = {"limit": 20.0, "verdict": "inconclusive", "cells": []}
        return {"evidence": [{**plain, **rest, "tick_ms": tick, "watermark_ms": tick} for tick in ticks]}

    return page
