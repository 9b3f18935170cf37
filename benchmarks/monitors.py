"""How fast evidence is: rows x tasks from Parquet to accumulated, one assessment, long histories, memory, shards.

    python -m benchmarks.monitors [--quick] [--json FILE] [--rows N]

Next to what others do with the same rows, in the same run, each in a process of its own with one thread. A row counts
once for each task and version that scored it and that its label was joined to.

Beside each figure by the clock stands one of processor time: on a machine where others are at work too, that one says
more, though caches and memory are shared then as well. Targets are of the clock."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contestants import PEERS, python_of
from benchmarks.evidence import DAYS, WARM, plan
from benchmarks.options import Options, parse
from benchmarks.processes import NotThere
from benchmarks.report import Report, Table
from benchmarks.traffic_log import MODEL, START_MS, TASKS, TICK_MS, write
from monitors.log import LogReader
from monitors.ticks import read_tick

WANTED_RATE, WANTED_LOOK_MS, WANTED_SHARDS, WANTED_MIB = 3e6, 150, 1.7, 512
FLAT = 1.25
"""A new row may cost so many times as much after the longest history as after the shortest."""


def main() -> int:
    options = parse(__doc__, rows="the longest history, in rows x tasks (100,000,000; quick: 10,000,000)")
    report = Report("monitors")
    requests, ticks = (40_000, 4) if options.quick else (200_000, 6)
    with tempfile.TemporaryDirectory(prefix="serinus-monitors-") as folder:
        log = Path(folder) / "log"
        write(log, requests, ticks)
        _rates(report, options, log, ticks, Path(folder) / "joined.npz")
        _shards(report, options, log, ticks)
    _look(report)
    _history(report, options)
    _memory(report, options)
    report.finish(options.json)
    return 0


def _rates(report: Report, options: Options, log: Path, ticks: int, joined: Path) -> None:
    """Ours, and the peers'; the best of the rounds of ours, by turns with nothing else."""
    ours = [_own("rate", str(log), str(ticks)) for _ in range(options.rounds)]
    best = max(ours, key=lambda each: float(each["rate"]))
    cpu = max(float(each["cpu"]) for each in ours)
    adding = best["rows"] / best["adding"]
    table = Table(
        f"rows x tasks a second, one thread, {len(TASKS)} tasks, 20 slices",
        ["who", "given", "a second", "a CPU second", "ours is", "ours, CPU"],
    )
    table.rows.append(["serinus, all groupings", "Parquet on disk", best["rate"], cpu, 1.0, 1.0])
    table.rows.append(["serinus, accumulating alone", "joined rows", None, adding, None, cpu / adding])
    for peer in _peers(options, log, ticks, joined):
        name = f"{peer['name']} ({peer['version']})"
        ratios = best["rate"] / peer["rate"], cpu / peer["cpu"]
        table.rows.append([name, peer["given"], peer["rate"], peer["cpu"], *ratios])
    table.notes.append("Given joined rows: nothing is read, joined or dropped, and nobody groups by users or time.")
    report.table(table)
    report.target("rows x tasks a second, from Parquet, one thread", best["rate"], WANTED_RATE, "rows/s")


def _peers(options: Options, log: Path, ticks: int, joined: Path) -> list[dict[str, Any]]:
    """What each of them measured; none when pip cannot install them."""
    item = plan()
    reader = LogReader(log, MODEL, item.sla.slice_features)
    streams = read_tick(item, reader, START_MS + TICK_MS * (ticks - 2), START_MS + TICK_MS * (ticks - 1)).streams
    parts: dict[str, list[Any]] = {name: [] for name in ("task", "country", "device", "side", "y", "p")}
    for at, task in enumerate(TASKS):
        for side, rows in enumerate(streams["shadow", task]):
            columns = (np.full(len(rows), at), *rows.slices.T, np.full(len(rows), side), rows.y, rows.p)
            for name, column in zip(parts, columns, strict=True):
                parts[name].append(column)
    np.savez(joined, allow_pickle=False, **{name: np.concatenate(columns) for name, columns in parts.items()})
    try:
        program = [python_of("evidence"), str(PEERS / "evidence_app.py")]
    except NotThere as error:
        print(f"peers: {error}", file=sys.stderr)
        return []
    said = subprocess.run(
        [*program, str(log), str(joined), str(options.seconds)], stdout=subprocess.PIPE, text=True, check=False
    )
    return [json.loads(line) for line in said.stdout.splitlines()]


def _shards(report: Report, options: Options, log: Path, ticks: int) -> None:
    """One process against two actors, by turns."""
    turns = [[_own("rate", str(log), str(ticks), str(count)) for count in (1, 2)] for _ in range(options.rounds)]
    one, two = (max(float(turn[at]["rate"]) for turn in turns) for at in (0, 1))
    cpu = [max(float(turn[at]["cpu"]) for turn in turns) for at in (0, 1)]
    table = Table(
        "shards: rows x tasks a second", ["shards", "a second", "a CPU second", "times one", "times one, CPU"]
    )
    table.rows += [["1", one, cpu[0], 1.0, 1.0], ["2, on Ray", two, cpu[1], two / one, cpu[1] / cpu[0]]]
    table.notes.append(f"Ticks {WARM + 1} to {ticks}; what both find is merged into one state at each.")
    table.notes.append(
        "CPU: of the shard that took most, and of merging: what it takes when each has a core of its own."
    )
    report.table(table)
    report.target("two shards on two cores", two / one, WANTED_SHARDS)


def _look(report: Report) -> None:
    found = _own("look")
    table = Table("one assessment", ["cells", "with an estimate", "ms", "CPU ms"])
    table.rows.append([str(found["cells"]), found["judged"], found["ms"], found["cpu_ms"]])
    table.notes.append(f"After {DAYS} days, with the rows of an hour taken in; 84 places, each with several metrics.")
    report.table(table)
    report.target("one assessment of all cells", found["ms"], WANTED_LOOK_MS, "ms", at_least=False)


def _history(report: Report, options: Options) -> None:
    longest = options.rows or (10_000_000 if options.quick else 100_000_000)
    sizes = sorted({min(1_000_000, longest), min(10_000_000, longest), longest})
    found = _own("history", *map(str, sizes))["ns"]
    table = Table("a new row, accumulated, after a history of", ["rows x tasks", "ns", "CPU ns"])
    table.rows += [[f"{size:,}", *found[str(size)]] for size in sizes]
    wall, cpu = (found[str(sizes[-1])][at] / found[str(sizes[0])][at] for at in (0, 1))
    table.notes.append(f"Grown by {wall:.2f}, of processor time by {cpu:.2f}.")
    report.table(table)
    report.target(f"cost of a row after {sizes[-1]:,} against {sizes[0]:,}", wall, FLAT, at_least=False)


def _memory(report: Report, options: Options) -> None:
    tasks, every = 50, 8 if options.quick else 2
    found = _own("memory", str(tasks), str(every))
    mib, before, history = (found[name] / 2**20 for name in ("rss", "before", "history"))
    table = Table(
        f"memory of a process, {DAYS} days of history",
        ["tasks x slices", "cells", "MiB", "before any row", "before the look"],
    )
    table.rows.append([f"{tasks} x 20", found["cells"], mib, before, history])
    report.table(table)
    report.target(f"memory of {tasks} tasks and 20 slices", mib, WANTED_MIB, "MiB", at_least=False)


def _own(*what: str) -> dict[str, Any]:
    """One measurement of ours, in a process of its own. Raises CalledProcessError."""
    command = [sys.executable, "-m", "benchmarks.evidence", *what]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(said.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.exit(main())
