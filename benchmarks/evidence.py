"""What `benchmarks.monitors` measures of our own, each in a process of its own: `python -m benchmarks.evidence WHAT`,
with one thread; prints one line of JSON.

    rate LOG TICKS [SHARDS]     rows of both versions x tasks a second, from Parquet to accumulated
    look                        ms of one assessment, with two weeks of history and all restarts begun
    history ROWS ...            ns a new row after so many rows, by the clock and of processor time
    memory TASKS EVERY          bytes of a process that follows so many tasks and 20 slices over two weeks"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import numpy as np
import pyarrow as pa

from benchmarks.traffic_log import MODEL, SLICES, START_MS, TASKS, TICK_MS
from monitors.assess import Assessor
from monitors.log import LogReader
from monitors.rows import Scored, Tick
from monitors.shards import RayShards
from monitors.ticks import read_tick
from serinus.evidence import WorkItem
from serinus.sla import Sla

WARM = 2
"""Ticks until labels are mature and bins are frozen."""
DAYS, LOOKS = 14, 9


def plan(tasks: tuple[str, ...] = TASKS, tick_ms: int = TICK_MS) -> WorkItem:
    """Twenty slices, and the guards that an SLA has by default."""
    spec = {task: {"label_window_s": 600, "absent": "negative"} for task in tasks}
    sla = Sla.model_validate({"model": MODEL, "tasks": spec, "slices": SLICES, "tick_s": tick_ms // 1000})
    return WorkItem(rollout="r1", model=MODEL, sla=sla, baseline=1, candidate=2, alpha=0.05, started_event_ms=START_MS)


def rate(log: Path, ticks: int, shards: int = 1) -> dict[str, Any]:
    """Rows of the ticks after the warm ones; `rate`: a second; `cpu`: a second of processor time, of whichever shard
    took most and of what is done at home; `adding`: seconds of processor time that accumulating alone took."""
    item = plan()
    whole = Assessor(item).whole
    reader = LogReader(log, MODEL, item.sla.slice_features)
    split = RayShards(log, shards) if shards > 1 else None
    rows, seconds, cpu, adding = 0, 0.0, 0.0, 0.0
    for at in range(ticks):
        previous, now = START_MS + at * TICK_MS, START_MS + (at + 1) * TICK_MS
        before, began, used = whole.counts["labels_used"], time.perf_counter(), time.process_time()
        theirs = _used(split)
        if split is None:
            tick = read_tick(item, reader, previous, now)
            read = time.process_time()
            whole.add(tick)
        else:
            read = used
            for part in split.parts(whole, previous, now):
                whole.absorb(part)
        whole.settle()
        if at >= WARM:
            seconds += time.perf_counter() - began
            adding += time.process_time() - read
            cpu += time.process_time() - used
            cpu += max((b - a for a, b in zip(theirs, _used(split), strict=True)), default=0.0)
            rows += 2 * (whole.counts["labels_used"] - before)
    if split is not None:
        split.close()
    return {"rows": rows, "rate": rows / seconds, "cpu": rows / cpu, "adding": adding}


def _used(split: RayShards | None) -> list[float]:
    """Seconds of processor time of each shard."""
    import ray  # noqa: PLC0415 (one shard needs none)

    return [] if split is None else ray.get([actor.cpu_s.remote() for actor in split.actors])


def drawn(item: WorkItem, tick_ms: int, count: int, random: np.random.Generator) -> Tick:
    """A tick of `count` requests that both versions scored, all tasks."""
    step_ms = item.sla.tick_s * 1000
    event_ms = np.sort(random.integers(tick_ms - step_ms, tick_ms, count))
    entity = random.integers(0, 20_000, count).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    places = random.integers(0, 10, (count, len(item.sla.slices)))
    streams = {}
    for task in item.sla.tasks:
        truth = random.normal(size=count)
        y = (random.random(count) < 1 / (1 + np.exp(2 - truth))).astype(np.float64)
        sides = [1 / (1 + np.exp(2 - truth - random.normal(size=count) / 2)) for _ in range(2)]
        a, b = (Scored(event_ms, entity, y, p, places) for p in sides)
        streams["shadow", task] = (a, b)
    return Tick(tick_ms, streams, {}, {}, int(event_ms[0]))  # type: ignore[arg-type]


def look() -> dict[str, Any]:
    """The newest hours are looked at as a monitor does; those before them are only taken in."""
    item, random = plan(tick_ms=3_600_000), np.random.default_rng(1)
    assessor = Assessor(item)
    hours = DAYS * 24
    for hour in range(1, hours - LOOKS):
        assessor.whole.add(drawn(item, START_MS + hour * 3_600_000, 3_000 if hour < 4 else 600, random))
        assessor.whole.settle()
    wall, cpu = [], []
    for hour in range(hours - LOOKS, hours + 1):
        tick = drawn(item, START_MS + hour * 3_600_000, 600, random)
        began, used = time.perf_counter(), time.process_time()
        evidence = assessor.consume(tick)
        cpu.append(time.process_time() - used)
        wall.append(time.perf_counter() - began)
    judged = [cell for cell in evidence.cells if cell.estimate is not None]
    times = {"ms": float(np.median(wall[1:])) * 1000, "cpu_ms": float(np.median(cpu[1:])) * 1000}
    return {**times, "cells": len(evidence.cells), "judged": len(judged)}


def history(sizes: list[int]) -> dict[str, Any]:
    """The same ticks again and again, later; each of 100,000 rows a side and task."""
    item, random = plan(), np.random.default_rng(1)
    whole = Assessor(item).whole
    first = drawn(item, START_MS + TICK_MS, 100_000, random)
    each = 2 * 100_000 * len(TASKS)
    found: dict[str, list[float]] = {}
    recent: list[tuple[float, float]] = []
    for at in range(-(-max(sizes) // each)):
        tick = _later(first, at * TICK_MS)
        began, used = time.perf_counter(), time.process_time()
        whole.add(tick)
        whole.settle()
        spent = time.perf_counter() - began, time.process_time() - used
        recent = [*recent[-4:], (spent[0] / each * 1e9, spent[1] / each * 1e9)]
        for size in sizes:
            if at * each < size <= (at + 1) * each:
                found[str(size)] = np.median(recent, axis=0).tolist()
    return {"ns": found, "rss": _rss()}


def memory(tasks: int = 50, every: int = 2) -> dict[str, Any]:
    """`every`: so many hours a tick; all have the rows of one."""
    item, random = plan(tuple(f"task-{at}" for at in range(tasks)), 3_600_000), np.random.default_rng(1)
    assessor = Assessor(item)
    before = _rss()
    first = drawn(item, START_MS + 3_600_000, 2_000, random)
    for hour in range(0, DAYS * 24, every):
        assessor.whole.add(_later(first, hour * 3_600_000))
        assessor.whole.settle()
    history = _rss()
    assessor.consume(_later(first, DAYS * 24 * 3_600_000))
    return {"rss": _rss(), "before": before, "history": history, "cells": len(assessor.shares)}


def _later(tick: Tick, by_ms: int) -> Tick:
    def moved(rows: Scored) -> Scored:
        return Scored(rows.event_ms + by_ms, rows.entity, rows.y, rows.p, rows.slices)

    streams = {key: (moved(a), moved(b)) for key, (a, b) in tick.streams.items()}
    return Tick(tick.tick_ms + by_ms, streams, {}, {}, (tick.first_event_ms or 0) + by_ms)


def _rss() -> int:
    """The most bytes that this process ever held; `ru_maxrss` would begin at what its parent held."""
    with Path("/proc/self/status").open() as told:
        return next(int(line.split()[1]) for line in told if line.startswith("VmHWM:")) * 1024


def main() -> int:
    pa.set_cpu_count(1)
    match sys.argv[1:]:
        case ["rate", log, *numbers]:
            found = rate(Path(log), *map(int, numbers))
        case ["look"]:
            found = look()
        case ["history", *sizes]:
            found = history([int(size) for size in sizes])
        case ["memory", *tasks]:
            found = memory(*map(int, tasks))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
