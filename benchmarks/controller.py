"""The controller at scale, on SQLite and on PostgreSQL: `python -m benchmarks.controller [--quick] [--json FILE]`.

1,000 models, 1,000 replicas on long polls, 50 rollouts that go on with looks of 84 cells."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.fleet import HEADERS, Replicas, bring, controller, look_of, name_of, populate, postgres
from benchmarks.processes import Server, end_in_order
from benchmarks.report import Report, Table
from controller.database import Database
from controller.reconciler import Reconciler
from controller.upkeep import Upkeep

TICK_MS = 60_000
WAIT_S = 30.0
"""How long a replica's poll waits, by default."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of all, and shorter")
    parser.add_argument("--json", metavar="FILE", help="write tables and targets as data too")
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    options = parser.parse_args()
    end_in_order()
    report = Report("controller")
    size = (100, 100, 5, 5.0) if options.quick else (1_000, 1_000, 50, 30.0)
    table = Table(
        f"{size[0]:,} models, {size[1]:,} replicas on polls of {WAIT_S:.0f} s, {size[2]} rollouts",
        ["database", "round, nothing new, CPU ms", "of one model, CPU ms",
         "without polls, % of a core", "with idle polls, %", "wakes a change",
         "change to all p50 ms", "p99 ms", "max ms", "API p50 ms", "p99 ms", "requests/s"],
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        if options.only != "postgresql":
            measured(report, table, "sqlite", f"sqlite:///{folder}/controller.db", size)
        if options.only != "sqlite":
            with postgres() as url:
                if url is None:
                    table.notes.append("PostgreSQL is not installed")
                else:
                    measured(report, table, "postgresql", url, size)
        report.table(table)
        report.table(storage(f"sqlite:///{folder}/looks.db", 200 if options.quick else 2_000))
    report.finish(options.json)
    return 0


def measured(report: Report, table: Table, kind: str, url: str, size: tuple[int, int, int, float]) -> None:
    ids = populate(url, size[0], size[2])
    server = controller(url)
    try:
        found = asyncio.run(live(server, url, ids, size))
    finally:
        server.stop()
    rounds = of_a_round(url)
    spread, api = found["spread"], found["api"]
    table.rows.append(
        [kind, rounds["nothing"], rounds["one"], found["base"] * 100, found["idle"] * 100,
         found["wakes"], quantile(spread, 0.5),
         quantile(spread, 0.99), max(spread), quantile(api, 0.5), quantile(api, 0.99), found["rate"]]
    )  # fmt: skip
    if found["failed"]:
        table.notes.append(f"{kind}: {found['failed']} polls failed")
    report.target(
        f"{kind}: CPU that idle polls add", (found["idle"] - found["base"]) * 100, 2.0, "% of a core", at_least=False
    )
    report.target(f"{kind}: a change reaches all replicas, p99", quantile(spread, 0.99), 1_000.0, "ms", at_least=False)


async def live(server: Server, url: str, ids: list[str], size: tuple[int, int, int, float]) -> dict[str, Any]:
    """Idle CPU, the spread of changes and the API, at a real process."""
    (models, replicas, _, idle_s), db = size, Database(url)
    for at, rollout in enumerate(ids):
        bring(db, [look_of(rollout, name_of(at), TICK_MS, 1)], time.time())
    await asyncio.sleep(2)
    base = await cpu_share(server, idle_s / 2)
    fleet = Replicas(server.port, [name_of(at % models) for at in range(replicas)], WAIT_S)
    await fleet.begin()
    await asyncio.sleep(3)  # the first reports are written
    idle = await cpu_share(server, idle_s)
    spread, wakes = [], []
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}", headers=HEADERS) as http:
        for turn in range(40 if models > 100 else 10):
            name = name_of((turn * 7 + len(ids)) % models)
            polls, began = fleet.polls, time.perf_counter()
            async with http.put(f"/v1/models/{name}/weights", json={"weights": {"t0": 1 + turn / 100}}) as answer:
                answer.raise_for_status()
            wanted = sum(pool == name for pool in fleet.pools)
            for _ in range(2_000):
                times = [t for (model, _e), all_ in fleet.heard.items() if model == name for t in all_ if t >= began]
                if len(times) >= wanted:
                    break
                await asyncio.sleep(0.005)
            spread += [(t - began) * 1000 for t in times]
            wakes.append(fleet.polls - polls)
        api, rate = await load(http, ids, models, 3.0 if models <= 100 else 10.0)
    await fleet.end()
    db.close()
    return {"base": base, "idle": idle, "spread": spread, "wakes": statistics.median(wakes), "api": api,
            "rate": rate, "failed": fleet.failed}  # fmt: skip


async def cpu_share(server: Server, seconds: float) -> float:
    """Share of a core that the controller takes."""
    cpu, began = server.cpu_s(), time.monotonic()
    await asyncio.sleep(seconds)
    return (server.cpu_s() - cpu) / (time.monotonic() - began)


async def load(http: aiohttp.ClientSession, ids: list[str], models: int, seconds: float) -> tuple[list[float], float]:
    """ms of each request of four clients that read and write as people and tools do."""
    took: list[float] = []
    until = time.perf_counter() + seconds

    async def client(first: int) -> None:
        at = first
        while time.perf_counter() < until:
            at += 4
            paths = (f"/v1/models/{name_of(at % models)}", f"/v1/rollouts/{ids[at % len(ids)]}",
                     f"/v1/rollouts/{ids[at % len(ids)]}/evidence/latest",
                     f"/v1/rollouts/{ids[at % len(ids)]}/series?points=100")  # fmt: skip
            began = time.perf_counter()
            async with http.get(paths[at // 4 % 4]) as answer:
                await answer.read()
                answer.raise_for_status()
            took.append((time.perf_counter() - began) * 1000)

    began = time.perf_counter()
    await asyncio.gather(*(client(at) for at in range(4)))
    return took, len(took) / (time.perf_counter() - began)


def of_a_round(url: str) -> dict[str, float]:
    """CPU ms of a round in this process: of all rollouts when nothing is new, and of one whose model was named."""
    db = Database(url)
    reconciler = Reconciler(db, lambda digest: f"file:///{digest}", lambda: time.time() + 20, lambda _pool: None)
    for _ in range(5):
        reconciler.round()
    found = {"nothing": cpu_ms(reconciler.round, 20), "one": cpu_ms(lambda: reconciler.round([name_of(0)]), 50)}
    db.close()
    return found


def cpu_ms(do: Callable[[], object], times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        do()
    return (time.process_time() - began) * 1000 / times


def storage(url: str, looks: int) -> Table:
    """One rollout of 84 cells: what its looks take, and what they cost."""
    (rollout,) = populate(url, 1, 1)
    db = Database(url)
    file = Path(str(db.engine.url.database))
    before, plain, spent = file.stat().st_size, 0, 0.0
    for at in range(looks):
        look = look_of(rollout, name_of(0), TICK_MS * (at + 1), at)
        plain += len(look.model_dump_json())
        began = time.process_time()
        bring(db, [look], time.time())
        spent += time.process_time() - began
        if at % 100 == 99:
            Upkeep(db, time.time, 1e9).round()
    with db.engine.connect() as connection:
        connection.exec_driver_sql("pragma wal_checkpoint(truncate)")
    reconciler = Reconciler(db, lambda digest: digest, time.time, lambda _pool: None)
    reconciler.round()
    size = file.stat().st_size - before
    table = Table(
        f"looks of one rollout, 84 cells: {looks:,}",
        ["what", "as JSON, MB", "kept, MB", "to keep one, CPU ms", "a round, CPU ms"],
    )
    table.rows.append(["sqlite", plain / 1e6, size / 1e6, spent * 1000 / looks, cpu_ms(reconciler.round, 50)])
    db.close()
    return table


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


if __name__ == "__main__":
    raise SystemExit(main())
