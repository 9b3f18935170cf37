"""The open-loop client itself: it counts what fails, keeps its schedule, and retries only when it is asked to."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.faults.load import Plan
from tests.faults.run import Run, running

GOOD = b'{"parameters": {"arm": "stable"}, "outputs": [{"parameters": {"version": 1, "fallback": ""}}]}'


class FailingServer(ThreadingHTTPServer):
    """Does with request number n what `habits[n % len(habits)]` says. `ids`: of every request, as they came."""

    daemon_threads, block_on_close = True, False
    request_queue_size = 256

    def __init__(self, *habits: str) -> None:
        self.habits, self.ids, self.connections = habits, list[str](), 0
        self.at_s: list[float] = []
        self._count = threading.Lock()
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def next(self, identity: str) -> str:
        with self._count:
            self.ids.append(identity)
            self.at_s.append(time.monotonic())
            return self.habits[(len(self.ids) - 1) % len(self.habits)]

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, *_: Any) -> None:
        pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FailingServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        habit = self.server.next(body["id"])
        if habit == "close":
            self.close_connection = True
            return
        if habit.startswith("sleep"):
            time.sleep(float(habit.removeprefix("sleep")))
        status, answer = (int(habit), b"no") if habit.isdigit() else (200, GOOD)
        self.send_response(status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def server(*habits: str) -> Iterator[FailingServer]:
    made = FailingServer(*habits)
    try:
        yield made
    finally:
        made.shutdown()
        made.server_close()


def test_every_kind_of_failure_is_counted_with_its_words() -> None:
    habits = ("ok", "ok", "500", "ok", "close", "ok", "sleep2", "ok")
    with server(*habits) as failing, running(Plan(failing.url, rate=80, timeout_s=0.5)) as run:
        run.more(60, lambda _: True)
    count = Counter(habits[failing.ids.index(outcome.id) % len(habits)] for outcome in run.failed)
    sent = Counter(habits[n % len(habits)] for n in range(len(failing.ids)))
    assert count == {habit: sent[habit] for habit in ("500", "close", "sleep2") if sent[habit]}
    assert {o.words.split(":")[0] for o in run.failed} == {"no", "IncompleteReadError", "no answer within 0.5 s"}
    assert len({o.id for o in run.outcomes}) == len(run.outcomes) == len(failing.ids)
    assert {(o.arm, o.version, o.tries) for o in run.answered} == {("stable", 1, 1)}
    assert "500 no" in run.why()


def test_slow_answers_do_not_delay_the_next_request_and_are_timed_from_when_they_were_due() -> None:
    with server("sleep0.4") as slow, running(Plan(slow.url, rate=100, at_most_s=1.0)) as run:
        run.more(100 - len(run.outcomes))
    assert run.failed == []
    assert len(run.outcomes) == 100
    assert slow.connections > 20  # a closed loop of a few connections would have sent two or three a second each
    assert min(o.ms for o in run.outcomes) >= 400


def test_connections_are_kept_and_used_again() -> None:
    with server("ok") as quick, running(Plan(quick.url, rate=100)) as run:
        run.more(100)
    assert run.failed == []
    assert quick.connections < len(run.outcomes) / 3


def test_nothing_listens() -> None:
    with server("ok") as gone:
        url = gone.url
    run = Run(Plan(url, rate=50))
    run.more(20, lambda o: "ConnectionRefusedError" in o.words)
    run.stop()
    assert run.answered == []


@pytest.mark.parametrize("retry_s", [0.0, 5.0])
def test_a_retry_is_the_same_request_and_only_made_when_asked_for(retry_s: float) -> None:
    with server("ok", "503", "ok", "close") as failing, running(Plan(failing.url, rate=60, retry_s=retry_s)) as run:
        run.more(60, lambda _: True)
    assert bool(run.failed) == (not retry_s)
    assert {o.tries > 1 for o in run.outcomes} == ({True, False} if retry_s else {False})
    assert set(failing.ids) == {o.id for o in run.outcomes}
    assert sum(o.tries for o in run.outcomes) == len(failing.ids)


def test_a_4xx_is_never_tried_again() -> None:
    with server("ok", "400") as refusing, running(Plan(refusing.url, rate=60, retry_s=5.0)) as run:
        run.more(20, lambda o: o.status == 400)
    assert {o.tries for o in run.failed} == {1}
