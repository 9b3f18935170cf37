"""Servers as processes: started, found ready, asked what CPU they took, stopped with all that they started."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

READY_S = 120.0


class NotThere(Exception):
    """A server cannot be measured; why, in words for the table."""


def end_in_order() -> None:
    """From now on SIGTERM is an exit like any other: what was started is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A process in a session of its own, with a folder for its output."""

    def __init__(
        self, name: str, command: Sequence[str], env: Mapping[str, str], port: int, folder: Path | None = None
    ) -> None:
        self.name, self.port = name, port
        self.folder = folder or Path(tempfile.mkdtemp(prefix=f"serinus-bench-{name}-"))
        self.output = (self.folder / "output.txt").open("wb")
        self.process = subprocess.Popen(
            command, env={**os.environ, **env}, cwd=self.folder, stdout=self.output, stderr=self.output,
            start_new_session=True,
        )  # fmt: skip

    def wait_ready(self, path: str, body: bytes, within_s: float = READY_S) -> None:
        """Until it answers a request by 2xx. Raises NotThere with the last lines of its output."""
        deadline, why = time.monotonic() + within_s, "no answer"
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                post(self.port, path, body)
                return
            except (OSError, urllib.error.URLError) as error:
                why = str(error)
            time.sleep(0.1)
        tail = " | ".join((self.folder / "output.txt").read_text(errors="replace").strip().splitlines()[-3:])
        raise NotThere(f"{self.name} did not start ({why}): {tail[-400:]}")

    def tree(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.process.pid)
            return [root, *root.children(recursive=True)]
        return []

    def cpu_s(self) -> float:
        """CPU seconds of it and of all that it started and that still runs."""
        return cpu_s(self.tree())

    def stop(self) -> None:
        """End it and what it started, by their ids, and remove its folder."""
        tree = self.tree()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(60)
        for process in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(10)
        self.output.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def cpu_s(processes: Sequence[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def post(port: int, path: str, body: bytes, timeout_s: float = 10.0) -> bytes:
    """The body of the answer. Raises OSError (with the answer's text, when it is not 2xx)."""
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        raise OSError(f"{error.code}: {error.read()[:300]!r}") from error


def get(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return bytes(answer.read())
