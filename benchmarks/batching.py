"""Micro-batches: requests of one row, with each a run of its own and with the rows of one turn in one run.

Two stacks, one after the other, differ only in SERINUS_MICRO_BATCH. Where the arithmetic of a row is small beside
what a request costs anyway there is nothing to gain; the table says from which size on there is."""

from __future__ import annotations

import os
import sys

import numpy as np

from benchmarks.bodies import singles
from benchmarks.load import Load, load
from benchmarks.options import Options, parse
from benchmarks.packages import dense
from benchmarks.precision import wide
from benchmarks.report import Report, Table
from benchmarks.stack import Stack

SIZES = (0, 32)
"""Rows of a joined run; 0: off, as it is by default."""
CONNECTIONS = (1, 16)
MODELS = {"dense": "256-512-512", "large": "256-1024-1024-1024"}
Key = tuple[str, int, int]


def main() -> int:
    options = parse(__doc__)
    report = Report("batching")
    found: dict[Key, list[Load]] = {}
    joined: dict[int, float] = {}
    for size in SIZES:
        joined[size] = _measure(size, options, found)
    columns = ["encoder", "connections", "off, req/s", "on, req/s", "x", "off p50/p99 ms", "on p50/p99 ms"]
    table = Table(f"requests of one row; on: SERINUS_MICRO_BATCH={SIZES[1]}", columns)
    for model, widths in MODELS.items():
        for connections in CONNECTIONS:
            off, on = (found[model, connections, size] for size in SIZES)
            rates = [float(np.median([each.rate for each in loads])) for loads in (off, on)]
            table.rows.append([widths, connections, *rates, rates[1] / rates[0], _times(off), _times(on)])
    errors = sum(each.errors for loads in found.values() for each in loads)
    table.notes.append(f"errors: {errors}; requests that shared a run: {joined[SIZES[1]]:.0%} of all, when on")
    report.table(table)
    report.finish(options.json)
    return 0


def _measure(size: int, options: Options, found: dict[Key, list[Load]]) -> float:
    """Adds the runs of this size; gives the share of requests that shared a run."""
    os.environ["SERINUS_MICRO_BATCH"] = str(size)
    stack = Stack()
    try:
        folders = {"dense": dense(), "large": wide()}
        stack.serve(folders)
        for _ in range(options.rounds):
            for model, folder in folders.items():
                requests = [(f"/v2/models/{model}/infer", each.body) for each in singles("dense", folder)]
                for connections in CONNECTIONS:
                    took = load(stack.port, requests, connections, options.seconds)
                    found.setdefault((model, connections, size), []).append(took)
        status = stack.status()
        return float(status["batches"]["joined"] / max(1, status["answered"]))
    finally:
        stack.stop()


def _times(loads: list[Load]) -> str:
    p50, p99 = (float(np.median([getattr(each, name) for each in loads])) / 1000 for name in ("p50_us", "p99_us"))
    return f"{p50:.2f} / {p99:.2f}"


if __name__ == "__main__":
    sys.exit(main())
