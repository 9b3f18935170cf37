"""An open-loop client: requests leave on a fixed schedule, however slow the answers are, and every failure is counted.

It runs as a process of its own (`python tests/faults/load.py '{"url": ...}'`), so that nothing a test does disturbs
its clock, and writes one line a request to standard output. Plain asyncio: it costs little beside what it measures."""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

MAX_IN_FLIGHT = 1_000
RETRIED = frozenset({0, 404, 502, 503, 504})
"""What a client that retries tries again: no answer, and what a proxy says while it knows no server yet."""


@dataclass(frozen=True)
class Plan:
    """What to send. `odd`: the hour that every `odd_every`th request has instead of 7; what it does is the graph's.

    `retry_s`: how long one request is tried again; 0 for once only. `body`: of another protocol than `infer`'s."""

    url: str
    model: str = "flights"
    rate: float = 150.0
    timeout_s: float = 3.0
    retry_s: float = 0.0
    at_most_s: float = 90.0
    entities: int = 1_000
    odd: float = 7.0
    odd_every: int = 4
    body: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """One request. `at_s`: when it was due, since the start. `ms`: from then to its last byte. `late_ms`: of that, what
    the client itself was late. `status` 0: no answer, `words` say why. `tries`: 1 without a retry."""

    id: str
    at_s: float
    ms: float
    late_ms: float
    status: int
    words: str = ""
    arm: str = ""
    fallback: str = ""
    version: int = 0
    tries: int = 1

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300


class Client:
    """Keep-alive connections, as many as are in flight; one that the other side closed is not used again."""

    def __init__(self, plan: Plan) -> None:
        self._plan, address = plan, urlsplit(plan.url)
        self._host, self._port = str(address.hostname), int(address.port or 80)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._in_flight = 0
        self.sent = 0

    async def run(self, stop: asyncio.Event) -> None:
        began, tasks = time.monotonic(), set[asyncio.Task[None]]()
        while not stop.is_set() and (due := self.sent / self._plan.rate) < self._plan.at_most_s:
            if (early := began + due - time.monotonic()) > 0:
                await asyncio.sleep(early)
            task = asyncio.create_task(self._request(self.sent, began, due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            self.sent += 1
        await asyncio.gather(*tasks)

    async def _request(self, number: int, began: float, due: float) -> None:
        identity = _uuid7()
        late_ms = (time.monotonic() - began - due) * 1000
        if self._in_flight >= MAX_IN_FLIGHT:
            _say(Outcome(identity, due, 0.0, late_ms, 0, f"{MAX_IN_FLIGHT} requests wait for an answer"))
            return
        self._in_flight += 1
        give_up, tries = time.monotonic() + self._plan.retry_s, 0
        while True:
            status, words, about = await self._ask(self._message(number, identity))
            tries += 1
            if status not in RETRIED or time.monotonic() > give_up:
                break
            await asyncio.sleep(0.1)
        self._in_flight -= 1
        _say(
            Outcome(
                identity, due, (time.monotonic() - began - due) * 1000, late_ms, status, words, **about, tries=tries
            )
        )

    async def _ask(self, message: bytes) -> tuple[int, str, dict[str, Any]]:
        """Status, what was wrong, what the answer says of itself."""
        try:
            async with asyncio.timeout(self._plan.timeout_s):
                status, body = await self._exchange(message)
        except TimeoutError:
            return 0, f"no answer within {self._plan.timeout_s:g} s", {}
        except (OSError, EOFError, ValueError) as error:
            return 0, f"{type(error).__name__}: {error}", {}
        if not 200 <= status < 300:
            return status, body.decode(errors="replace")[:200], {}
        return status, "", _about(body)

    async def _exchange(self, message: bytes) -> tuple[int, bytes]:
        connection = None
        while self._idle and connection is None:
            reader, writer = self._idle.pop()
            if reader.at_eof() or writer.is_closing():
                writer.close()
            else:
                connection = reader, writer
        reader, writer = connection or await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(message)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
            headers = dict(line.split(": ", 1) for line in head[1:] if ": " in line)
            body = await reader.readexactly(int(headers["content-length"]))
        except BaseException as error:
            writer.close()
            if isinstance(error, KeyError):
                raise ValueError("an answer without content-length") from error
            raise
        if headers.get("connection") == "close":
            writer.close()
        else:
            self._idle.append((reader, writer))
        return int(head[0].split()[1]), body

    def _message(self, number: int, identity: str) -> bytes:
        plan = self._plan
        hour = plan.odd if number % plan.odd_every == plan.odd_every - 1 else 7.0
        inputs = (("origin", "BYTES", ["EWR"]), ("delay", "FP32", [3.0]), ("hour", "FP32", [hour]))
        body = json.dumps(
            {
                "id": identity,
                "parameters": {"entity": f"e{number % plan.entities}"},
                "inputs": [{"name": n, "shape": [1], "datatype": kind, "data": data} for n, kind, data in inputs],
                **plan.body,
            }
        ).encode()
        path = f"/v2/models/{plan.model}/infer"
        head = f"POST {path} HTTP/1.1\r\nhost: {self._host}\r\ncontent-type: application/json\r\n"
        return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def _about(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
        outputs = [output.get("parameters", {}) for output in answer["outputs"]]
    except (ValueError, KeyError, TypeError):
        return {}
    return {
        "arm": answer.get("parameters", {}).get("arm", ""),
        "fallback": "+".join(sorted({str(o["fallback"]) for o in outputs if o.get("fallback")})),
        "version": max((int(o.get("version", 0)) for o in outputs), default=0),
    }


def _uuid7() -> str:
    number = (time.time_ns() // 1_000_000) << 80 | uuid.uuid4().int & ((1 << 80) - 1)
    return str(uuid.UUID(int=number & ~(0xF << 76) | 7 << 76))


def _say(outcome: Outcome) -> None:
    print(json.dumps(asdict(outcome)), flush=True)


async def _until_told(stop: asyncio.Event) -> None:
    """Until standard input ends: also when the test that started this is gone."""
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    stop.set()


async def main(plan: Plan) -> None:
    stop = asyncio.Event()
    told = asyncio.create_task(_until_told(stop))
    await Client(plan).run(stop)
    await told


if __name__ == "__main__":
    asyncio.run(main(Plan(**json.loads(sys.argv[1]))))
