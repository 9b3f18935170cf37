"""What shadow traffic costs those who wait for stable's answers: latency at a fixed rate, without and with shadow.

    python -m benchmarks.shadow [--rate 150] [--rounds 9] [--seconds 8] [--rps 0] [--cpu 50] [--json FILE]

One pool behind HAProxy, one front door, flights model; requests leave on a schedule, well below what it can take.
Rounds without and with 100 % shadow take turns; the figure is the median of the ratios of neighbouring rounds.
A round without shadow beside another one without shows what the machine's own noise is."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.bodies import body, rows_of
from benchmarks.packages import flights, flights_at_first
from benchmarks.report import Report, Table
from serinus.package import digest_of, read_manifest
from serinus.routes import PackageRef, RouteTable
from tests.faults.load import Plan
from tests.faults.run import Run
from tests.pool.stack import Stack, wait_for

LIMIT = 1.10
FIGURES = ("p50", "p99")
Round = dict[str, float]


class Pool(Stack):
    """A pool with one front door, whose routes are set by hand."""

    def __init__(self, folder: Path, rps: int, cpu: int) -> None:
        stable, candidate = flights(), flights_at_first()
        refs = {n: PackageRef(digest=digest_of(f), uri=f.as_uri()) for n, f in ((1, stable), (2, candidate))}
        self.tasks = read_manifest(stable).task_names
        limits: dict[str, Any] = {"SERINUS_SHADOW_RPS": str(rps), "SERINUS_SHADOW_CPU_PCT": str(cpu)}
        super().__init__(folder, refs, SERINUS_FRONT_DOORS="1", **limits)

    def shadow(self, share_bp: int) -> None:
        """Version 2 is loaded at all times; this share of the requests is scored by it, too."""
        self.epoch += 1
        told = {
            "model": "flights",
            "epoch": self.epoch,
            "stable": dict.fromkeys(self.tasks, 1),
            "candidate": dict.fromkeys(self.tasks, 2),
            "shadow_bp": share_bp,
            "expires_at": time.time() + 3_600,
            "packages": self.packages,
        }
        self.controller.put(RouteTable.model_validate(told))
        wait_for(lambda: all(self.applied_by(role) == [self.epoch] for role in ("front", "candidate", "shadow")), 120)

    def shadowed(self) -> dict[str, int]:
        """Rows sent, dropped, limited, failed; and those that wait."""
        found: dict[str, int] = self.http.get("/v1/serving/status").json()["shadow"]
        return found


def measured(pool: Pool, rate: float, seconds: float) -> Round:
    """Percentiles of the latency in ms, without what the client itself was late. No request may fail."""
    asked = orjson.loads(body(rows_of("flights", 1, 7), "e"))["inputs"]
    run = Run(Plan(pool.ready["url"], rate=rate, body={"inputs": asked}))
    time.sleep(seconds)
    run.stop()
    if run.failed or not run.outcomes:
        raise SystemExit(f"{len(run.failed)} requests failed: {run.failed[:3]}")
    took = np.array([outcome.ms - outcome.late_ms for outcome in run.outcomes])
    return {"p50": float(np.percentile(took, 50)), "p99": float(np.percentile(took, 99))}


def alternating(pool: Pool, rate: float, seconds: float, rounds: int) -> list[tuple[Round, Round, Round]]:
    """(without, without again, with) for each round, in changing order."""
    found = []
    for number in range(rounds):
        order = [(0, 0), (1, 0), (2, 10_000)]
        if number % 2:
            order.reverse()
        took: dict[int, Round] = {}
        for place, share_bp in order:
            pool.shadow(share_bp)
            took[place] = measured(pool, rate, seconds)
        found.append((took[0], took[1], took[2]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=150.0, help="requests a second")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=8.0, help="of one round")
    parser.add_argument("--rps", type=int, default=0, help="SERINUS_SHADOW_RPS, 0: no limit")
    parser.add_argument("--cpu", type=int, default=50, help="SERINUS_SHADOW_CPU_PCT")
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sb-") as folder:
        pool = Pool(Path(folder), given.rps, given.cpu)
        try:
            pool.shadow(0)
            measured(pool, given.rate, 3.0)
            found = alternating(pool, given.rate, given.seconds, given.rounds)
            counts = pool.shadowed()
        finally:
            pool.stop()
    report(found, counts, given)


def report(found: list[tuple[Round, Round, Round]], counts: dict[str, int], given: argparse.Namespace) -> None:
    said = Report("shadow")
    title = f"{given.rate:g} requests/s, {given.rounds} rounds of {given.seconds:g} s, 100 % shadow; ms"
    columns = ["latency", "without", "with", "ratio", "without / without", "lowest", "highest"]
    table = Table(title, columns, notes=[f"shadow rows: {counts}; limits: {given.rps} rows/s, {given.cpu} % of a CPU"])
    for name in FIGURES:
        noise = [again[name] / without[name] for without, again, _with in found]
        ratio = statistics.median(shadowed[name] / without[name] for without, _again, shadowed in found)
        without_ms = statistics.median(without[name] for without, _again, _with in found)
        with_ms = statistics.median(shadowed[name] for _without, _again, shadowed in found)
        table.rows.append([name, without_ms, with_ms, ratio, statistics.median(noise), min(noise), max(noise)])
        said.target(f"{name} of stable with shadow, against without", ratio, LIMIT, at_least=False)
    said.table(table)
    said.finish(given.json)


if __name__ == "__main__":
    main()
