"""What people are told: written with what it tells of, sent at least once, in the way of nothing."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import logging
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from controller.api import create_app
from controller.database import Database
from controller.notify import outbox
from controller.notify.formats import link_of, post
from controller.notify.outbox import tell
from controller.notify.sender import Sender
from controller.notify.targets import Target, read_settings
from controller.registry import put_model
from controller.services import Services
from controller.store import PackageStore
from serinus.errors import BadInput
from serinus.notices import Notice, numbers_of
from tests.controller.conftest import SLA

NOW = 1_700_000_000.0


def notice(**changes: Any) -> Notice:
    told = {"kind": "rolled_back", "severity": "critical", "key": "r1", "model": "ads", "rollout": "r1"}
    return Notice.model_validate({**told, "title": "ads: version 2 was rolled back", "at": NOW, **changes})


def until(condition: Callable[[], Any], within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Receiver:
    """A web server that takes what is sent to it, or answers `status`."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def sender_to(database: Database, tmp_path: Path) -> Callable[..., tuple[Sender, Clock, Path]]:
    def make(*targets: dict[str, Any]) -> tuple[Sender, Clock, Path]:
        path = tmp_path / "notify.yaml"
        path.write_text(json.dumps({"console_url": "https://serinus.example/", "targets": targets}))
        clock = Clock()
        return Sender(database, path, clock), clock, path

    return make


def test_it_is_told_exactly_when_its_transaction_is_committed(
    database: Database, sender_to: Any, receiver: Receiver
) -> None:
    sender, _, _ = sender_to({"name": "ours", "kind": "webhook", "url": receiver.url + "/hook"})

    def fails() -> None:
        with database.write() as session:
            tell(session, notice())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert sender.round() == 0
    with database.write() as session:
        tell(session, notice(guards=[], text="JFK lost .13"))
    assert sender.round() == 1
    assert sender.round() == 0, "and never again"
    ((path, headers, body),) = receiver.got
    told = json.loads(body)
    assert (path, told["kind"], told["text"]) == ("/hook", "rolled_back", "JFK lost .13")
    assert told["link"] == "https://serinus.example/console/rollouts/r1"
    assert headers["serinus-notice"] == str(told["number"])


def test_each_target_gets_what_it_wants(database: Database, sender_to: Any, receiver: Receiver) -> None:
    hook = {"kind": "webhook", "url": receiver.url}
    sender, _, _ = sender_to(
        {**hook, "name": "all", "url": receiver.url + "/all"},
        {**hook, "name": "video", "url": receiver.url + "/video", "models": ["video-*"]},
        {**hook, "name": "urgent", "url": receiver.url + "/urgent", "least": "critical"},
    )
    with database.write() as session:
        tell(session, notice(model="video-eu", severity="warning"))
        tell(session, notice())
    assert sender.round() == 4
    assert sorted(path for path, _, _ in receiver.got) == ["/all", "/all", "/urgent", "/video"]


def test_a_target_that_fails_is_tried_again_ever_later_and_holds_up_no_other(
    database: Database, sender_to: Any, receiver: Receiver
) -> None:
    dead = socket.socket()
    dead.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
    sender, clock, _ = sender_to(
        {"name": "good", "kind": "webhook", "url": receiver.url},
        {"name": "dead", "kind": "slack", "url": f"http://127.0.0.1:{dead.getsockname()[1]}/secret-path"},
    )
    with database.write() as session:
        tell(session, notice())
    assert sender.round() == 2
    assert len(receiver.got) == 1
    waits = []
    for _ in range(12):
        with database.read() as session:
            (stuck,) = outbox.undelivered(session)
            assert stuck.due_at is not None
            waits.append(stuck.due_at - clock.now)
            assert stuck.said == "ConnectError", "the reason, without the address, which may be a secret"
        clock.now = stuck.due_at - 0.01
        assert sender.round() == 0
        clock.now = stuck.due_at
        assert sender.round() == 1
    assert waits[:4] == pytest.approx([2, 4, 8, 16], abs=0.01)
    assert max(waits) == pytest.approx(900, abs=0.01)
    clock.now = NOW + 86_401
    sender.round()
    clock.now += 10 * 86_400
    assert sender.round() == 0, "after a day it is of no use any more"
    clock.now += 30 * 86_400
    with database.write() as session:
        tell(session, notice(at=clock.now))
    sender.round()
    with database.read() as session:
        assert len(outbox.undelivered(session)) == 1, "old notices are forgotten"
    dead.close()


class Dripper:
    """A web server that answers a byte at a time, and never comes to an end."""

    def __init__(self) -> None:
        self.asked = 0
        self.over = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/drip"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.asked += 1
                threading.Thread(target=self._drip, args=(connection,), daemon=True).start()

    def _drip(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
            while not self.over.wait(0.05):
                connection.sendall(b"x")


@pytest.fixture
def dripper() -> Iterator[Dripper]:
    made = Dripper()
    yield made
    made.over.set()
    made.listener.close()


def test_a_target_that_answers_endlessly_holds_up_nobody(
    database: Database, sender_to: Any, receiver: Receiver, dripper: Dripper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.notify.sender.TIMEOUT_S", 0.5)
    sender, _, _ = sender_to(
        {"name": "drips", "kind": "webhook", "url": dripper.url},
        {"name": "good", "kind": "webhook", "url": receiver.url},
    )
    with database.write() as session:
        for number in range(12):
            tell(session, notice(key=f"k{number}"))
    done = threading.Thread(target=sender.round, daemon=True)
    done.start()
    done.join(20)
    assert not done.is_alive(), "the round ends"
    assert (dripper.asked, len(receiver.got)) == (1, 12), "a silent target is asked once in a round"
    with database.read() as session:
        assert {row.target for row in outbox.undelivered(session)} == {"drips"}


def test_a_slow_target_gets_the_rest_later(
    database: Database, sender_to: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.notify.sender.TIMEOUT_S", 0.0)
    monkeypatch.setattr(Sender, "_try", lambda *_: asyncio.sleep(0.01, ("", False)))
    sender, _, _ = sender_to({"name": "slow", "kind": "webhook", "url": receiver.url})
    with database.write() as session:
        for number in range(3):
            tell(session, notice(key=f"k{number}"))
    assert [sender.round() for _ in range(4)] == [3, 2, 1, 0]


def test_a_secret_that_is_no_header_is_of_its_own_target_and_no_address_is_logged(
    database: Database, sender_to: Any, receiver: Receiver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "token").write_text("pass\u20acwort\n")
    sender, _, _ = sender_to(
        {"name": "bad", "kind": "webhook", "url": receiver.url, "token_file": str(tmp_path / "token")},
        {"name": "good", "kind": "slack", "url": f"{receiver.url}/services/T0/B0/s3cret"},
    )
    with database.write() as session:
        tell(session, notice())
    with caplog.at_level(logging.INFO):
        assert sender.round() == 2
    assert [path for path, _, _ in receiver.got] == ["/services/T0/B0/s3cret"]
    assert not {word for word in ("s3cret", "wort") if word in caplog.text}
    with database.read() as session:
        assert [(row.target, row.said) for row in outbox.undelivered(session)] == [("bad", "UnicodeEncodeError")]


def test_a_claim_that_was_not_kept_is_taken_over(database: Database, sender_to: Any, receiver: Receiver) -> None:
    sender, clock, _ = sender_to({"name": "ours", "kind": "webhook", "url": receiver.url})
    with database.write() as session:
        tell(session, notice())
    with database.write() as session:
        outbox.route(session, sender.settings.targets, clock.now)
        session.flush()
        assert len(outbox.claim(session, clock.now)) == 1  # and its controller is killed here
    assert sender.round() == 0
    clock.now += outbox.CLAIM_S
    assert sender.round() == 1
    assert len(receiver.got) == 1


def test_two_controllers_share_the_letters(database: Database, sender_to: Any, receiver: Receiver) -> None:
    first, clock, path = sender_to({"name": "ours", "kind": "webhook", "url": receiver.url})
    second = Sender(database, path, clock)
    with database.write() as session:
        for number in range(120):
            tell(session, notice(key=f"k{number}"))
    tried: list[int] = []

    def work(sender: Sender) -> None:
        while sent := sender.round():
            tried.append(sent)

    threads = [threading.Thread(target=work, args=(sender,)) for sender in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    while first.round():
        pass
    keys = [json.loads(body)["key"] for _, _, body in receiver.got]
    assert sorted(keys) == sorted(f"k{number}" for number in range(120))


def test_the_thread_sends_what_was_there_before_it_and_ends(
    database: Database, sender_to: Any, receiver: Receiver
) -> None:
    sender, _, _ = sender_to({"name": "ours", "kind": "webhook", "url": receiver.url})
    with database.write() as session:
        tell(session, notice())
    sender.start()
    until(lambda: receiver.got)
    sender.stop()
    assert not sender._thread.is_alive()


def test_the_file_may_change_but_a_faulty_one_changes_nothing(
    database: Database, sender_to: Any, receiver: Receiver, tmp_path: Path
) -> None:
    sender, _, path = sender_to()
    (tmp_path / "token").write_text("first\n")
    target = {"name": "ours", "kind": "webhook", "url": receiver.url, "token_file": str(tmp_path / "token")}
    path.write_text(json.dumps({"targets": [target]}))
    for token in ("first", "second"):
        (tmp_path / "token").write_text(f"{token}\n")
        with database.write() as session:
            tell(session, notice())
        assert sender.round() == 1
        assert receiver.got[-1][1]["authorization"] == f"Bearer {token}"
        path.write_text("targets: [{name: ours}]")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("targets: [{name: a}]", "targets.0.kind"),
        ("targets: [{name: a, kind: slack, url: 'file:///etc/passwd'}]", "targets.0.url"),
        ("targets: [{name: a, kind: slack}, {name: a, kind: slack}]", "same name"),
        ("targets: [", "SERINUS_NOTIFY_FILE"),
    ],
)
def test_a_faulty_file_is_refused_at_the_start(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "n.yaml").write_text(text)
    with pytest.raises(BadInput, match=named):
        read_settings(tmp_path / "n.yaml")


def test_a_webhook_is_signed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    target = Target(name="ours", kind="webhook", url="https://a.example", secret_file=tmp_path / "secret")
    _, headers, body = post(target, notice(), 7, None)
    expected = hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    assert headers["serinus-signature"] == f"sha256={expected}"


def test_slack_sees_the_numbers_and_nobody_is_woken_by_a_reason(make: Any) -> None:
    evidence = make.evidence("violated")
    told = notice(text="abort: <!channel> & more", guards=numbers_of(evidence))
    _, _, body = post(Target(name="s", kind="slack", url="https://a.example"), told, 1, "https://c.example")
    text = json.loads(body)["text"]
    assert "click / overall / auc: +0.0312 [+0.011, +0.052] against 0.01, E 23.5, 12345 labels" in text
    assert "&lt;!channel&gt; &amp; more" in text
    assert "<https://c.example/console/rollouts/r1|Open in Serinus>" in text


def test_links_lead_to_the_rollout_or_the_model() -> None:
    assert link_of(notice(), None) is None
    assert link_of(notice(rollout=None), "https://c.example") == "https://c.example/console/models/ads"


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[str]:
    """A real Alertmanager of our own."""
    binary = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if binary is None:
        pytest.fail("Alertmanager is not here: install it (apt-get install prometheus-alertmanager)")
    (tmp_path / "am.yml").write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    arguments = [f"--config.file={tmp_path}/am.yml", f"--storage.path={tmp_path}/am", "--cluster.listen-address="]
    process = subprocess.Popen(
        [binary, *arguments, f"--web.listen-address=127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: _ready(url))
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", trust_env=False).is_success
    except httpx.HTTPError:
        return False


def test_a_real_alertmanager_shows_trouble_until_it_is_over(
    database: Database, sender_to: Any, alertmanager: str
) -> None:
    sender, clock, _ = sender_to({"name": "am", "kind": "alertmanager", "url": alertmanager})
    clock.now = time.time()
    trouble = {"kind": "awaiting_approval", "severity": "warning", "key": "r1 approval", "title": "ads waits"}
    with database.write() as session:
        tell(session, notice(**trouble, at=clock.now - 60))
    assert sender.round() == 1
    (shown,) = httpx.get(f"{alertmanager}/api/v2/alerts", trust_env=False).json()
    assert shown["labels"] == {
        "alertname": "SerinusAwaitingApproval",
        "model": "ads",
        "severity": "warning",
        "key": "r1 approval",
        "rollout": "r1",
    }
    assert shown["status"]["state"] in ("active", "unprocessed")
    assert shown["generatorURL"] == "https://serinus.example/console/rollouts/r1"
    with database.write() as session:
        tell(session, notice(**trouble, at=clock.now - 1, resolved=True))
    assert sender.round() == 1
    with database.read() as session:
        assert outbox.undelivered(session) == []
    assert httpx.get(f"{alertmanager}/api/v2/alerts", trust_env=False).json() == []


def test_the_api_shows_what_was_told_and_tries_the_way(tmp_path: Path, receiver: Receiver) -> None:
    targets = [{"name": "ours", "kind": "webhook", "url": receiver.url}]
    (tmp_path / "notify.yaml").write_text(json.dumps({"targets": targets}))
    db = Database(f"sqlite:///{tmp_path / 'c.db'}")
    db.migrate()
    with db.write() as session:
        put_model(session, SLA, "default", NOW)
    services = Services(db, PackageStore(tmp_path / "packages"), notify=tmp_path / "notify.yaml")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_app(services), log_config=None, timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        until(lambda: server.started)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/notices"
        with httpx.Client(trust_env=False, timeout=30) as api:
            assert api.post(f"{url}/test", json={"model": "ghost"}).status_code == 404
            told = api.post(f"{url}/test", json={"model": "ads"})
            assert told.status_code == 202
            until(lambda: any(each["delivered_at"] for each in newest(api, url)["deliveries"]))
            assert newest(api, url)["number"] == told.json()["number"]
        server.should_exit = True
        thread.join(30)
    assert json.loads(receiver.got[0][2])["kind"] == "test"
    db.close()


def newest(api: httpx.Client, url: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"{url}?model=ads").json()["items"][0]
    return found
