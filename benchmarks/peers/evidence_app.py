"""What others do with the same rows: `python evidence_app.py LOG JOINED.npz SECONDS`; one line of JSON a measurement.

LOG: folder of the logs as Parquet; JOINED: the same rows joined already, as arrays task, country, device, side, y, p of
shape (n,). Every contestant has one thread. Those that are given joined rows neither read, nor join, nor drop copies,
and none of them but Polars groups by users and time."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

os.environ |= {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import numpy as np
import polars as pl
import torch
from river.metrics import ROCAUC
from sklearn.metrics import roc_auc_score
from torchmetrics.classification import BinaryAUROC

torch.set_num_threads(1)
BINS = 256
PAIRS = pl.List(pl.Struct({"key": pl.String, "value": pl.String}))
FEW = 20_000
"""Rows for who takes them one by one."""


def main() -> None:
    log, joined, seconds = Path(sys.argv[1]), dict(np.load(sys.argv[2])), float(sys.argv[3])
    n = len(joined["y"])
    masks = [
        (joined["task"] == task) & inside & (joined["side"] == side)
        for task in range(int(joined["task"].max()) + 1)
        for side in (0, 1)
        for inside in [
            np.ones(n, np.bool_),
            *(joined[name] == value for name in ("country", "device") for value in range(int(joined[name].max()) + 1)),
        ]
    ]
    cells = [(joined["y"][mask], joined["p"][mask]) for mask in masks]
    few = [(y[: FEW // len(cells)], p[: FEW // len(cells)]) for y, p in cells]
    tensors = [(torch.from_numpy(y.astype(np.int64)), torch.from_numpy(p)) for y, p in cells]

    def exact() -> int:
        for y, p in cells:
            roc_auc_score(y, p)
        return n

    def binned() -> int:
        for y, p in tensors:
            metric = BinaryAUROC(thresholds=BINS, validate_args=False)
            metric.update(p, y)
            metric.compute()
        return n

    def stream() -> int:
        for ys, ps in few:
            metric = ROCAUC(n_thresholds=BINS)
            for y, p in zip(ys.tolist(), ps.tolist(), strict=True):
                metric.update(y > 0, p)
            metric.get()
        return n * sum(len(y) for y, _ in few) // sum(len(y) for y, _ in cells)

    def plain() -> int:
        return polars_group_by(log)

    say("scikit-learn exact AUC per cell", "scikit-learn", "joined rows", exact, seconds)
    say(f"torchmetrics AUROC, {BINS} thresholds", "torchmetrics", "joined rows", binned, seconds)
    say(f"river ROCAUC, {BINS} thresholds", "river", "joined rows", stream, seconds)
    say("Polars group-by", "polars", "Parquet on disk", plain, seconds)


def polars_group_by(log: Path) -> int:
    """Read, drop copies, join, and sums by task, version, slice and hour or user group: without score histograms."""
    rows = pl.read_parquet(log / "predictions", columns=["id", "index", "arm", "entity", "scores", "slices"])
    scores = (
        rows.unique(["id", "index", "arm"])
        .with_columns(user=pl.col("entity").hash() % 64, slice=pl.col("slices").cast(PAIRS))
        .explode("scores")
        .unnest("scores")
    )
    labels = pl.read_parquet(log / "labels", columns=["id", "index", "task", "value"]).unique(["id", "index", "task"])
    joined = scores.join(labels.rename({"value": "y"}), on=["id", "index", "task"], how="left")
    joined = joined.with_columns(pl.col("y").fill_null(0.0))
    sums = [pl.len(), pl.col("y").sum(), pl.col("value").sum().alias("p")]
    joined.group_by("task", "version").agg(sums)
    joined.group_by("task", "version", "user").agg(sums)
    apart = joined.select("task", "version", "user", "y", "value", "slice").explode("slice")
    apart.group_by("task", "version", "slice").agg(sums)
    apart.group_by("task", "version", "slice", "user").agg(sums)
    return len(joined)


def say(name: str, package: str, given: str, run: Callable[[], int], seconds: float) -> None:
    run()
    rates, by_cpu = [], []
    end = time.perf_counter() + seconds
    while not rates or time.perf_counter() < end:
        began, cpu = time.perf_counter(), time.process_time()
        rows = run()
        by_cpu.append(rows / (time.process_time() - cpu))
        rates.append(rows / (time.perf_counter() - began))
    found = {"name": name, "version": version(package), "given": given}
    found |= {"rate": float(np.median(rates)), "cpu": float(np.median(by_cpu))}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
