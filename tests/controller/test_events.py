"""Server-sent events: each change once and in order, resumed, from any controller; ended cleanly."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_sse import connect_sse

from controller.audit import audit
from controller.database import Database
from controller.services import Services
from controller.store import PackageStore
from controller.streams import Streams
from controller.tables import Token
from tests.controller.served import bearer, give_tokens, serve, until

SLA = {"model": "ads", "tasks": {"click": {"label_window_s": 60, "absent": "negative"}}}


@pytest.fixture
def services(database: Database, tmp_path: Path) -> Services:
    give_tokens(database)
    return Services(database, PackageStore(tmp_path / "packages"))


@pytest.fixture
def api(services: Services) -> Iterator[httpx.Client]:
    with serve(services) as client:
        yield client


class Reader:
    """Reads a stream in a thread of its own."""

    def __init__(self, api: httpx.Client, path: str, **headers: str) -> None:
        self.api, self.path, self.headers = api, path, headers
        self.seen: list[tuple[str, str, Any]] = []
        self.begun, self.ended = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()
        assert self.begun.wait(20)

    def read(self) -> None:
        with (
            suppress(httpx.TransportError),  # the test has ended
            connect_sse(self.api, "GET", self.path, headers=self.headers) as source,
        ):
            for event in source.iter_sse():
                self.begun.set()  # the first thing said is where it begins
                if event.data:
                    self.seen.append((event.id, event.event, event.json()))
            self.ended.set()

    @property
    def ids(self) -> list[int]:
        return [int(number) for number, _, _ in self.seen]


def tell(db: Database, subject: str, action: str = "x.y") -> None:
    with db.write() as session:
        audit(session, actor="eve", action=action, subject=subject, detail={"text": "a\nb"}, now=1.0)


def test_each_change_is_told_once_in_order(api: httpx.Client, services: Services) -> None:
    tell(services.db, "tokens/before")
    reader = Reader(api, "/v1/events")
    threads = [threading.Thread(target=tell, args=(services.db, f"models/m{n}")) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: len(reader.seen) == 12, "twelve events")
    assert reader.ids == list(range(2, 14))
    assert reader.seen[0][1] == "x.y"
    assert reader.seen[0][2]["detail"] == {"text": "a\nb"}
    again = Reader(api, "/v1/events", **{"last-event-id": "9"})
    until(lambda: len(again.seen) == 4, "the rest")
    assert again.ids == [10, 11, 12, 13]
    services.events._loop.call_soon_threadsafe(services.events.close)  # type: ignore[union-attr]
    assert reader.ended.wait(20)  # as at shutdown: a whole answer, not a broken one
    assert again.ended.wait(20)


def test_a_model_has_its_own_and_its_rollouts(api: httpx.Client, services: Services) -> None:
    api.put("/v1/models/ads", json={"sla": SLA}).raise_for_status()
    api.put("/v1/models/ads_2", json={"sla": {**SLA, "model": "ads_2"}}).raise_for_status()
    reader = Reader(api, "/v1/events?model=ads&after=0")
    for subject in ("models/ads_2", "models/ads/versions/1", "models/adsx", "tokens/ads", "models/ads"):
        tell(services.db, subject, "mine")
    until(lambda: [each[2]["subject"] for each in reader.seen][-1:] == ["models/ads"], "the last")
    assert {each[2]["subject"] for each in reader.seen} <= {"models/ads", "models/ads/versions/1"}
    assert api.get("/v1/events?model=nope").status_code == 404
    assert api.get("/v1/rollouts/nope/events").status_code == 404
    assert api.get("/v1/events", headers={"last-event-id": "x"}).status_code == 400
    assert api.get("/v1/events", headers=bearer("replica-token")).status_code == 403


def test_what_another_controller_writes_is_told(api: httpx.Client, database_url: str) -> None:
    reader = Reader(api, "/v1/events")
    other = Database(database_url)
    tell(other, "models/ads")
    until(lambda: reader.seen, "the other's event")
    other.close()


def test_heartbeats_and_a_revoked_token(api: httpx.Client, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.streams.HEARTBEAT_S", 0.1)
    monkeypatch.setattr("controller.streams.LOOK_S", 0.05)
    with api.stream("GET", "/v1/events", headers=bearer("viewer-token")) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        beats = 0
        for line in answer.iter_lines():
            beats += line.startswith(":")
            if beats == 2 and line:
                with services.db.write() as session:
                    session.delete(session.get_one(Token, "viewer"))
        assert beats >= 2  # and it has ended


def test_streams_are_bounded_and_given_back(api: httpx.Client, services: Services) -> None:
    services.streams = Streams(2)
    held = [api.build_request("GET", "/v1/events") for _ in range(2)]
    answers = [api.send(request, stream=True) for request in held]
    refused = api.get("/v1/events")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
    for answer in answers:
        answer.close()
    until(lambda: services.streams.open == 0, "the streams to be given back")


def test_a_reader_that_does_not_read_is_dropped(
    api: httpx.Client, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.streams.SLOW_S", 0.2)
    with services.db.write() as session:
        for number in range(60):
            told = {"n": number, "text": "x" * 100_000}
            audit(session, actor="eve", action="x.y", subject="models/ads", detail=told, now=1.0)
    lazy = socket.create_connection((api.base_url.host, api.base_url.port or 0))
    lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    lazy.sendall(b"GET /v1/events?after=0 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer admin-token\r\n\r\n")
    until(lambda: services.streams.open == 1, "the stream to begin")
    until(lambda: services.streams.open == 0, "the stream to be dropped")
    lazy.close()
