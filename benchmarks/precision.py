"""INT8 and FP16 against FP32: the same model in three packages, on the engine that serves them, one thread.

Beside the time, what was given up for it: AUC on rows that were in no training and no calibration, and how far
probabilities are apart."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.options import Options, parse
from benchmarks.packages import (
    TASKS,
    _standardise,
    dense_rows,
    kept,
)
from benchmarks.report import Report, Table
from serinus.execute import Raw
from serinus.package import digest_of, read_manifest
from serinus.training import Dataset, HardSharing, auc, export, fit
from serinus.training import quantize as quantizing
from serving.engine import Engine

WIDTHS = (1024, 1024, 1024)
ROWS = (1, 10, 100)
"""Rows of one request: a single one, a few, a ranking."""
WANTED, AT = 2.0, 100
CALIBRATION = 2_000
Narrow = Literal["int8", "fp16"]


def main() -> None:
    options = parse(__doc__)
    report = Report("precision")
    held = dense_rows().split(0.8)[1]
    calibration, test = held.split(CALIBRATION / len(held))
    folders = {"fp32": wide()} | {each: narrow(each, calibration) for each in ("fp16", "int8")}
    engines = {name: Engine(folder, read_manifest(folder), digest_of(folder)) for name, folder in folders.items()}
    report.table(_speed(engines, folders, test.raw, options, report))
    report.table(_quality(engines, test))
    report.finish(options.json)


def wide() -> Path:
    """An encoder 256-1024-1024-1024 with four linear heads."""

    def make(folder: Path) -> None:
        train, held = dense_rows().split(0.8)
        model = HardSharing(hidden=WIDTHS, head_hidden=())
        network = fit(train, held, _standardise(train), tasks=TASKS, model=model, epochs=2, batch_size=512)
        export(network, folder, validation=held, provenance={"data": "synthetic"})

    return kept("dense-1024", make)


def narrow(precision: Narrow, calibration: Dataset) -> Path:
    def make(folder: Path) -> None:
        quantizing.quantize(wide(), folder, precision, rows=calibration.raw)

    sources = Path(quantizing.__file__), Path(quantizing.__file__).with_name("narrow.py")
    return kept(f"dense-1024-{precision}", make, *sources)


def _speed(engines: dict[str, Engine], folders: dict[str, Path], raw: Raw, options: Options, report: Report) -> Table:
    """Medians of rounds in which the packages take turns, so that what else runs here meets all alike."""
    columns = ["package", "MB", *(f"{rows} rows, ms" for rows in ROWS), *(f"x at {rows}" for rows in ROWS)]
    table = Table(f"one encoder 256-{'-'.join(map(str, WIDTHS))}, {len(TASKS)} heads, one thread", columns)
    took: dict[tuple[str, int], list[float]] = {}
    for _ in range(options.rounds):
        for rows in ROWS:
            for name, engine in engines.items():
                took.setdefault((name, rows), []).append(_median_ms(engine, raw, rows, options.seconds / 4))
    ms = {key: float(np.median(found)) for key, found in took.items()}
    for name, folder in folders.items():
        size = sum(path.stat().st_size for path in folder.rglob("*")) / 1e6
        gains = [ms["fp32", rows] / ms[name, rows] for rows in ROWS]
        table.rows.append([name, size, *(ms[name, rows] for rows in ROWS), *gains])
    vnni = _vnni()
    table.notes.append(f"VNNI: {vnni}" if vnni else "this CPU has no VNNI: 8-bit products gain little here")
    report.target(f"INT8 against FP32, {AT} rows", ms["fp32", AT] / ms["int8", AT], WANTED)
    return table


def _median_ms(engine: Engine, raw: Raw, rows: int, seconds: float) -> float:
    """Strict runs: heads without budgets, for what is measured is arithmetic."""
    inputs = {name: column[:rows] for name, column in raw.items()}
    tasks = engine.manifest.task_names
    engine.run(inputs, tasks)
    found = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        engine.run(inputs, tasks)
        found.append(time.perf_counter() - began)
    return float(np.median(found)) * 1000


def _quality(engines: dict[str, Engine], test: Dataset) -> Table:
    columns = ["task", "AUC fp32", "fp16 - fp32", "int8 - fp32", "fp16 max |dp|", "int8 max |dp|", "int8 mean |dp|"]
    table = Table(f"what it costs in quality, on {len(test)} rows", columns)
    found = {name: engine.run(test.raw, TASKS) for name, engine in engines.items()}
    for task in TASKS:
        p = {name: outputs[task].values for name, outputs in found.items()}
        quality = {name: auc(test.labels[task], values) or 0.0 for name, values in p.items()}
        apart = {name: np.abs(values - p["fp32"]) for name, values in p.items()}
        table.rows.append(
            [
                task,
                f"{quality['fp32']:.4f}",
                f"{quality['fp16'] - quality['fp32']:+.5f}",
                f"{quality['int8'] - quality['fp32']:+.5f}",
                *(f"{apart[name].max():.2g}" for name in ("fp16", "int8")),
                f"{apart['int8'].mean():.2g}",
            ]
        )
    return table


def _vnni() -> str:
    info = Path("/proc/cpuinfo")
    flags = set(info.read_text().split()) if info.is_file() else set()
    return " ".join(sorted(flags & {"avx_vnni", "avx512_vnni", "amx_int8"}))


if __name__ == "__main__":
    main()
