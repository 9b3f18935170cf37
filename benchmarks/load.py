"""The load generator: a closed loop of keep-alive connections, in a process of its own on the same machine.

`wrk` where it is installed (Debian: `apt-get install wrk`), for it takes least of the processor; else this file as a
program: asyncio and uvloop on raw sockets. `ceiling` says how much either can ask for at all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

HERE = Path(__file__).resolve()
TIMEOUT_S = 10


@dataclass(frozen=True)
class Load:
    """What came of one run. `errors`: answers that were not 2xx, broken connections and time-outs."""

    requests: int
    seconds: float
    errors: int
    p50_us: int
    p99_us: int
    p999_us: int
    max_us: int

    @property
    def rate(self) -> float:
        """Answered requests a second."""
        return (self.requests - self.errors) / self.seconds


def generator() -> str:
    return "wrk" if shutil.which("wrk") else "asyncio"


@contextlib.contextmanager
def prepared(port: int, requests: Sequence[tuple[str, bytes]]) -> Iterator[Path]:
    """A file of whole HTTP/1.1 requests: their count, then the length of each and the request."""
    with tempfile.NamedTemporaryFile(prefix="serinus-load-") as file:
        file.write(b"%d\n" % len(requests))
        for path, body in requests:
            whole = http_request(port, path, body)
            file.write(b"%d\n%b\n" % (len(whole), whole))
        file.flush()
        yield Path(file.name)


def http_request(port: int, path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def load(port: int, requests: Sequence[tuple[str, bytes]], connections: int, seconds: float, by: str = "") -> Load:
    """Ask `requests` (path, body), round and round, over so many connections. Raises RuntimeError when it cannot."""
    with prepared(port, requests) as file:
        if (by or generator()) == "wrk":
            each = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", f"--timeout={TIMEOUT_S}s"]
            lua = str(HERE.with_suffix(".lua"))
            command = ["wrk", *each, "-s", lua, f"http://127.0.0.1:{port}", "--", str(file)]
        else:
            command = [sys.executable, "-P", str(HERE), str(port), str(connections), str(seconds), str(file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
    if done.returncode:
        raise RuntimeError(f"the load generator failed: {done.stdout[-500:]}{done.stderr[-500:]}")
    return Load(**json.loads(done.stdout.strip().splitlines()[-1]))


def ceiling(connections: int, seconds: float) -> float:
    """Requests a second of this generator against a server that only says `{}`."""
    command = [sys.executable, "-P", str(HERE), "--trivial"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            return load(int(server.stdout.readline()), [("/", b"{}" * 300)], connections, seconds).rate
        finally:
            server.terminate()


class Connection(asyncio.Protocol):
    """One connection: asks, waits for the whole answer, asks again."""

    def __init__(self, run: Run) -> None:
        self.run, self.buffer, self.began = run, bytearray(), 0
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        if self.run.over:
            self.transport.close()
            return
        self.began = time.perf_counter_ns()
        self.transport.write(self.run.next())

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        length = answer_length(self.buffer)
        if length is None or len(self.buffer) < length:
            return
        self.run.took(time.perf_counter_ns() - self.began, bytes(self.buffer[9:12]))
        self.buffer.clear()
        self.ask()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if not self.run.over:
            self.run.errors += 1
            self.run.over = True


def answer_length(buffer: bytearray) -> int | None:
    """Bytes of the answer that begins here, or None while that cannot be said."""
    head = buffer.find(b"\r\n\r\n")
    if head < 0:
        return None
    lines = bytes(buffer[:head]).lower()
    at = lines.find(b"\r\ncontent-length:")
    if at >= 0:
        return head + 4 + int(lines[at + 17 :].split(b"\r\n", 1)[0])
    end = buffer.find(b"\r\n0\r\n\r\n", head)  # chunked
    return None if end < 0 else end + 7


class Run:
    """All connections of one run, and what they have seen."""

    def __init__(self, requests: list[bytes]) -> None:
        self.requests, self.at, self.over = requests, 0, False
        self.latencies_ns: list[int] = []
        self.errors = 0

    def next(self) -> bytes:
        self.at = (self.at + 1) % len(self.requests)
        return self.requests[self.at]

    def took(self, ns: int, status: bytes) -> None:
        self.latencies_ns.append(ns)
        self.errors += not status.startswith(b"2")

    async def go(self, port: int, connections: int, seconds: float) -> Load:
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        for _ in range(connections):
            await loop.create_connection(lambda: Connection(self), "127.0.0.1", port)
        await asyncio.sleep(seconds)
        took, self.over = time.perf_counter() - began, True
        order = sorted(self.latencies_ns) or [0]
        at = [order[min(len(order) - 1, int(len(order) * share))] // 1000 for share in (0.5, 0.99, 0.999, 1)]
        return Load(len(self.latencies_ns), took, self.errors, *at)


def read_requests(file: Path) -> list[bytes]:
    """The requests of a file that `prepared` wrote."""
    data, found = file.read_bytes(), []
    count, at = data.split(b"\n", 1)[0], data.index(b"\n") + 1
    for _ in range(int(count)):
        end = data.index(b"\n", at)
        length = int(data[at:end])
        found.append(data[end + 1 : end + 1 + length])
        at = end + 2 + length
    return found


class Trivial(asyncio.Protocol):
    """A server that takes whatever comes in one piece for a request."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, _data: bytes) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")


async def trivial() -> None:
    server = await asyncio.get_running_loop().create_server(Trivial, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "--trivial":
        uvloop.run(trivial())
    else:
        port_, connections_, seconds_, file_ = sys.argv[1:]
        made = uvloop.run(Run(read_requests(Path(file_))).go(int(port_), int(connections_), float(seconds_)))
        print(json.dumps(made.__dict__))
