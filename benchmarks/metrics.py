"""What metrics and traces cost: CPU of a serving pool a request, without, with a port for Prometheus, and with both.

    python -m benchmarks.metrics [--quick] [--rounds 9] [--seconds 2] [--json FILE]

Three pools with one front door and the flights model, asked in turn; the others sleep meanwhile. A pool with a port
counts, writes its counts once a second, and is scraped once a second, fifteen times as often as one would. The last one
besides traces one request of 500, as traced pools do by default, and sends the traces to a collector; with
SERINUS_TRACES_SHARE_BP=10000 every one."""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.bodies import body, rows_of
from benchmarks.options import parse
from benchmarks.packages import flights, flights_at_first
from benchmarks.processes import cpu_s, free_port
from benchmarks.report import Report, Table
from benchmarks.rounds import Lane, measure
from serinus.package import digest_of, read_manifest
from serinus.routes import PackageRef, RouteTable
from tests.pool.collector import Collector
from tests.pool.stack import Stack, wait_for

LIMIT, CONNECTIONS = 1.03, 16
CALM_FOR_S, CALM_SHARE = 3.0, 0.22


class Pool(Stack):
    """A pool with one front door, stable alone; `port`: of its metrics, 0: none; `traces_to`: a collector, "": none."""

    def __init__(self, folder: Path, port: int = 0, traces_to: str = "") -> None:
        folder.mkdir()
        stable, other = flights(), flights_at_first()
        refs = {n: PackageRef(digest=digest_of(f), uri=f.as_uri()) for n, f in ((1, stable), (2, other))}
        super().__init__(
            folder, refs, SERINUS_FRONT_DOORS="1", SERINUS_METRICS_PORT=str(port), SERINUS_TRACES_TO=traces_to
        )
        table = {"model": "flights", "epoch": 1, "stable": dict.fromkeys(read_manifest(stable).task_names, 1)}
        self.controller.put(RouteTable.model_validate({**table, "packages": self.packages}))
        wait_for(lambda: self.applied_by("front") == [1], 120)

    @property
    def processes(self) -> list[psutil.Process]:
        mine = psutil.Process(self.process.pid)
        return [mine, *mine.children(recursive=True)]

    def calm(self) -> bool:
        """Whether it takes little while nobody asks it: Ray Serve's controller is busy for a while after a start."""
        before, processes = time.monotonic(), self.processes
        spent_s = cpu_s(processes)
        time.sleep(CALM_FOR_S)
        return cpu_s(processes) - spent_s < CALM_SHARE * (time.monotonic() - before)


@contextmanager
def scraping(ports: Sequence[int]) -> Iterator[list[int]]:
    """Ask for the metrics of all once a second; the bytes of each answer."""
    sizes: list[int] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.wait(1.0):
            for port in ports:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=0.5) as answer:
                        sizes.append(len(answer.read()))
                except OSError:  # the pool sleeps: another one is measured
                    continue

    thread = threading.Thread(target=ask)
    thread.start()
    yield sizes
    ended.set()
    thread.join()


def main() -> int:
    options = parse(__doc__)
    rounds, seconds = max(options.rounds, 3 if options.quick else 9), max(options.seconds, 2.0)
    ports = [free_port(), free_port()]
    collector = Collector()
    asked = [("/v2/models/flights/infer", body(rows_of("flights", 1, seed), f"e{seed}")) for seed in range(200)]
    with tempfile.TemporaryDirectory(prefix="sb-") as name:
        pools = [
            Pool(Path(name) / "neither"),
            Pool(Path(name) / "metrics", ports[0]),
            Pool(Path(name) / "both", ports[1], collector.url),
        ]
        try:
            lanes = [
                Lane(what, pool.port, asked, pool.processes, sleeps=True)
                for what, pool in zip(("neither", "metrics", "metrics and traces"), pools, strict=True)
            ]
            for pool in pools:
                wait_for(pool.calm, 180)
            with scraping(ports) as sizes:
                measure(lanes, CONNECTIONS, seconds, rounds)
        finally:
            for pool in pools:
                pool.stop()
            collector.stop()
    notes = [
        f"{len(sizes)} scrapes of {statistics.median(sizes) if sizes else 0:.0f} bytes",
        f"{len({span.trace for span in collector.spans})} traces of {len(collector.spans)} spans",
    ]
    _report(lanes, notes, rounds, options.json)
    return 0


def _report(lanes: list[Lane], notes: list[str], rounds: int, json: str | None) -> None:
    each = [[c / max(d.requests, 1) * 1e6 for c, d in zip(lane.cpu_s, lane.loads, strict=True)] for lane in lanes]
    off, metrics, both = each
    report = Report("metrics")
    rows: list[list[Any]] = [[lane.name, lane.rate, lane.cpu_us, lane.errors] for lane in lanes]
    report.table(Table(f"{rounds} rounds", ["told", "requests/s", "CPU us a request", "errors"], rows, notes))
    for what, on in (("metrics", metrics), ("metrics and traces", both)):
        ratio = statistics.median(a / b for a, b in zip(on, off, strict=True))
        report.target(f"CPU a request with {what}, against neither", ratio, LIMIT, at_least=False)
    report.finish(json)


if __name__ == "__main__":
    sys.exit(main())
