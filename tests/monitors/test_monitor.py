"""The process: real logs, a controller that stands in over real HTTP, kills and outages."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from monitors.assess import Assessor
from monitors.follower import read_tick
from monitors.log import LogReader
from serinus.evidence import Evidence, MonitorReport, MonitorWork, Watched, WorkItem
from serinus.ids import uuid7
from serinus.records import LabelRow, Mark, PredictionRow, Score
from serinus.sla import Sla

HOUR_MS = 3_600_000
START = 240 * HOUR_MS
TICKS = 60


class StandIn:
    """Answers exchanges as the controller does: evidence is kept by tick, and the newest tick is told."""

    def __init__(self, item: WorkItem) -> None:
        self.item, self.found, self.watermarks = item, {}, {}
        self.others: tuple[WorkItem, ...] = ()
        self.watched: tuple[Watched, ...] = ()
        self.alerts: set[str] = set()
        self.refuse = False
        self.exchanges = 0
        self.secret = "secret"
        self.refused = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, answer = outer.answer(self.path, self.headers.get("Authorization"), body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path: str, token: str | None, body: bytes) -> tuple[int, bytes]:
        assert path == "/v1/monitor/exchange"
        if token != f"Bearer {self.secret}":
            return 401, b'{"title": "Unauthenticated", "detail": "this token is not known"}'
        self.exchanges += 1
        report = MonitorReport.model_validate_json(body)
        if self.refuse and report.evidence:
            self.refused += 1
            return 503, b'{"title": "Unavailable", "detail": "down for a while"}'
        self.watermarks |= report.watermarks_ms
        self.alerts |= {alert.key for alert in report.alerts or ()}
        for evidence in report.evidence:
            self.found[evidence.tick_ms] = evidence
        item = self.item.model_copy(update={"last_tick_ms": max(self.found, default=None)})
        work = MonitorWork(rollouts=(*self.others, item), models=("ads",), watched=self.watched)
        return 200, work.model_dump_json().encode()

    def digests(self) -> list[str]:
        return [self.found[tick].digest for tick in sorted(self.found)]


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    sla = Sla.model_validate(
        {
            "model": "ads",
            "tasks": {"click": {"label_window_s": 1800, "absent": "negative"}},
            "slices": {"country": ["BR", "DE"]},
            "tick_s": 3600,
            "freeze_scores": 500,
        }
    )
    controller = StandIn(
        WorkItem(rollout="r1", model="ads", sla=sla, baseline=1, candidate=2, alpha=0.05, started_event_ms=START)
    )
    yield controller
    controller.server.shutdown()
    controller.server.server_close()


@pytest.fixture
def world(tmp_path: Path, write_log: Callable[..., None]) -> Path:
    """Logs of TICKS hours, 30 rows each, candidate a bit worse."""
    pick, rows = random.Random(4), []
    for number in range(30 * TICKS):
        event_ms = START + number * HOUR_MS // 30
        at, truth = uuid7(event_ms, number.to_bytes(10, "big")).bytes, pick.random()
        rest = {"entity": f"u{pick.randrange(200)}", "rollout": "r1", "epoch": 1, "latency_us": 5}
        where = {"country": pick.choice(["BR", "DE"])}
        for arm, version, p in (("stable", 1, truth), ("shadow", 2, 0.7 * truth + 0.3 * pick.random())):
            rows.append(
                PredictionRow(id=at, index=0, arm=arm, scores=[Score("click", p, version)], slices=where, **rest)
            )
        if pick.random() < truth:
            rows.append(LabelRow(at, 0, "click", 1.0, event_ms + 60_000))
    write_log(tmp_path / "log", "ads", rows)
    return tmp_path


def complete(folder: Path, event_ms: int) -> None:
    now = int(time.time() * 1000)
    path = folder / "log" / "marks" / "ads" / "w0.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".new").write_bytes(msgspec.json.encode(Mark("w0", now, {"ads": event_ms}, {"ads": now})))
    path.with_suffix(".new").replace(path)


@pytest.fixture
def start(world: Path, stand_in: StandIn) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    (world / "token").write_text("secret\n")
    names = {"SERINUS_API": stand_in.url, "SERINUS_TOKEN_FILE": str(world / "token")}
    names |= {"SERINUS_LOG": str(world / "log"), "SERINUS_HOME": str(world / "home")}
    running: list[subprocess.Popen[bytes]] = []

    def started() -> subprocess.Popen[bytes]:
        root = Path(__file__).parents[2]
        process = subprocess.Popen(
            [sys.executable, "-m", "monitors"], cwd=root, env={**os.environ, **names}, stdout=subprocess.PIPE
        )
        running.append(process)
        assert process.stdout is not None
        assert "ready" in json.loads(process.stdout.readline())
        return process

    yield started
    for process in running:
        process.kill()
        process.wait()


def wait(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        time.sleep(0.02)


def expected(world: Path, item: WorkItem) -> list[str]:
    assessor, reader = Assessor(item), LogReader(world / "log", "ads", tuple(item.sla.slices))
    ends = [START + at * HOUR_MS for at in range(TICKS + 1)]
    looks: list[Evidence] = [assessor.consume(read_tick(item, reader, *pair)) for pair in itertools.pairwise(ends)]
    assert looks[-1].e > looks[0].e
    return [look.digest for look in looks]


def test_its_token_is_changed_while_it_runs(
    world: Path, stand_in: StandIn, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    process = start()
    wait(lambda: stand_in.exchanges > 1, "the first exchanges")
    stand_in.secret = "another"
    (world / "token").unlink()
    before = stand_in.exchanges
    (world / "token").write_text("another\n")
    wait(lambda: stand_in.exchanges > before + 1, "exchanges with the other token")
    assert process.poll() is None


def test_kills_outages_and_pauses_do_not_show_in_the_evidence(
    world: Path, stand_in: StandIn, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    process = start()
    wait(lambda: stand_in.exchanges > 1, "the first exchanges")
    assert stand_in.found == {}
    complete(world, START + 25 * HOUR_MS + 17)
    wait(lambda: len(stand_in.found) == 25, "the first 25 looks")
    process.kill()  # before or after a checkpoint
    process.wait()
    complete(world, START + 40 * HOUR_MS)
    second = start()
    wait(lambda: len(stand_in.found) == 40, "looks after a kill")
    stand_in.refuse = True
    complete(world, START + 50 * HOUR_MS)
    wait(lambda: stand_in.refused > 2, "tries while the controller refuses")
    assert len(stand_in.found) == 40
    stand_in.refuse = False
    wait(lambda: len(stand_in.found) == 50, "looks after an outage")
    wait(lambda: stand_in.watermarks == {"ads": START + 50 * HOUR_MS}, "the watermark")
    second.send_signal(signal.SIGTERM)
    assert second.wait(20) == 0
    assert (world / "home" / "monitor" / "r1.npz").exists()
    start()
    complete(world, START + TICKS * HOUR_MS)
    wait(lambda: len(stand_in.found) == TICKS, "looks after a stop")
    assert stand_in.digests() == expected(world, stand_in.item)


def test_looks_that_the_controller_lost_are_made_again(
    world: Path, stand_in: StandIn, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    complete(world, START + TICKS * HOUR_MS)
    process = start()
    wait(lambda: len(stand_in.found) == TICKS, "all looks")
    process.send_signal(signal.SIGTERM)
    process.wait(20)
    all_of_them = stand_in.digests()
    for tick in sorted(stand_in.found)[30:]:
        del stand_in.found[tick]
    start()
    wait(lambda: len(stand_in.found) == TICKS, "the lost looks")
    assert stand_in.digests() == all_of_them


def test_a_rollout_that_cannot_be_followed_does_not_stop_the_others(
    world: Path, stand_in: StandIn, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    stand_in.others = (stand_in.item.model_copy(update={"rollout": "r0", "started_event_ms": -(10**15)}),)
    stand_in.watched = (Watched(model="ads", sla=stand_in.item.sla, stable=1),)
    complete(world, START + TICKS * HOUR_MS)
    process = start()
    wait(lambda: len(stand_in.found) == TICKS, "the looks at the sound rollout")
    assert process.poll() is None
    wait(lambda: "log:ads:looks: rollout r0" in stand_in.alerts, "the other one is told")


def test_a_process_that_is_not_configured_says_what_is_missing() -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SERINUS_")}
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-m", "monitors"], cwd=root, env=clean, capture_output=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    assert b"SERINUS_API" in ended.stderr


def test_a_damaged_file_is_told(world: Path, stand_in: StandIn, start: Callable[[], subprocess.Popen[bytes]]) -> None:
    stand_in.watched = (Watched(model="ads", sla=stand_in.item.sla, stable=1),)
    damaged = sorted((world / "log" / "labels" / "ads").rglob("*.log"))[5]
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 0xFF
    damaged.write_bytes(data)
    complete(world, START + TICKS * HOUR_MS)
    start()
    wait(lambda: len(stand_in.found) == TICKS, "all looks")
    name = f"log:ads:{damaged.relative_to(world / 'log')}"
    wait(lambda: name in stand_in.alerts, f"the alert {name}")
    assert all(look.counts["corrupt_logs"] in (0, 1) for look in stand_in.found.values())
