"""Ranking 100 candidates for one entity: Serinus by `rank`, the peers by a batch of 100 rows, ONNX Runtime alone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.bodies import CANDIDATES, candidates, rankings
from benchmarks.field import Field, by_name, rate_table
from benchmarks.options import Options
from benchmarks.peers.onnx_package import OnnxPackage
from benchmarks.report import Report
from benchmarks.rounds import Lane, measure, settle

MODELS = ("towers", "flights", "dense")


def run(field: Field, report: Report, options: Options) -> None:
    """Two towers, where the user's is computed once; and the models whose every input is a candidate's too."""
    for model in MODELS[:2] if options.quick else MODELS:
        batches, ranked = rankings(model, field.models[model])
        for connections in (1,) if options.quick or model == "dense" else (1, 16):
            lanes = field.lanes(model, batches, ranked)
            if not lanes or lanes[0].name != "Serinus":
                report.target(f"{model}, rank of {CANDIDATES}", None, 0.6)
                continue
            alone = _measure(lanes, model, field.models[model], connections, options)
            title = f"{model}, rank of {CANDIDATES}, {connections} connections ({len(ranked[0].body):,} bytes; "
            title += f"{len(batches[0].body):,} for the peers)"
            table = rate_table(title, lanes, field.missing)
            share = _median([load.rate / rate for load, rate in zip(lanes[0].loads, alone, strict=True)])
            table.rows.append(["ONNX Runtime alone", _median(alone), None, None, None, f"{share:.2f}x", None])
            report.table(table)
            _targets(report, f"{model}, rank of {CANDIDATES}, c={connections}", lanes, share)


def _targets(report: Report, name: str, lanes: list[Lane], share: float) -> None:
    mine, others = lanes[0], lanes[1:]
    best = max(others, key=lambda lane: lane.rate) if others else None
    if best is not None:
        report.target(f"{name}, against the fastest other ({best.name})", mine.times(best), 1.0)
    report.target(f"{name}, against ONNX Runtime alone", share, 0.6)
    report.target(f"{name}, errors", by_name(lanes)["Serinus"].errors, 0, "", at_least=False)


def _measure(lanes: list[Lane], model: str, folder: Path, connections: int, options: Options) -> list[float]:
    """The rounds of all lanes, and after each round what ONNX Runtime does alone, in this process."""
    alone = []
    package = OnnxPackage(folder)
    rows = [_fewest(model, candidates(model, at)) for at in range(16)]
    for _ in range(options.rounds):
        measure(lanes, connections, options.seconds, 1)
        settle([process for lane in lanes for process in lane.processes])
        alone.append(_alone(package, rows, options.seconds))
    return alone


def _fewest(model: str, rows: dict[str, Any]) -> dict[str, Any]:
    """With two towers the user's inputs as one row, which is less work than a peer's 100; else all rows."""
    return {name: values[:1] if model == "towers" and name == "user" else values for name, values in rows.items()}


def _alone(package: OnnxPackage, rows: list[dict[str, Any]], seconds: float) -> float:
    """Rankings a second without a server: arrays in, arrays out, one thread."""
    done, began = 0, time.perf_counter()
    while time.perf_counter() < began + seconds:
        package.run(rows[done % len(rows)])
        done += 1
    return done / (time.perf_counter() - began)


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
