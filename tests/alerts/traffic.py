"""A small world in event time: labels that GOOD predicts well, and BAD does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from examples.flights.replay import HOUR_MS, Hour
from serinus.ids import uuid7
from serinus.package import write_manifest
from serinus.sla import Sla
from tests.pool.packages import ORIGINS, expected, write_package
from tests.pool.stack import request

MODEL, ROWS, REQUESTS = "flights", 10, 40
GOOD, BAD, OTHER = 1, 3, 8
SLA = Sla.model_validate(
    {
        "model": MODEL,
        "tasks": {"late": {"label_window_s": 60, "absent": "unlabelled"}},
        "tick_s": 3600,
        "freeze_scores": 200,
        "slices": {"origin": ORIGINS},
        "guards": [
            {"task": "late", "metric": "auc", "margin": 0.01},
            {"task": "late", "metric": "auc", "margin": 0.01, "by": "origin", "role": "optional"},
        ],
        "rollout": {"shadow_hold_s": 0, "steps": [{"canary_bp": 1000, "hold_s": 86400}], "bake_s": 3600},
    }
)


def package(folder: Path, seed: int) -> Path:
    """A package that the registry takes: with what its maker measured."""
    path = folder / str(seed)
    write_package(path, seed)
    measured = {"tasks": {task: {"auc": 0.7} for task in ("late", "cancelled")}}
    (path / "baseline.json").write_text(json.dumps(measured))
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").unlink()
    write_manifest(path, manifest)
    return path


def hours(start_ms: int, count: int) -> Iterator[Hour]:
    """Each with the labels of its own requests, drawn from what version 1 says."""
    random = np.random.default_rng(7)
    for at in range(start_ms, start_ms + count * HOUR_MS, HOUR_MS):
        bodies: list[dict[str, Any]] = []
        labels: list[dict[str, Any]] = []
        for number in range(REQUESTS):
            event_ms = at + number * 60_000
            origins = random.choice(ORIGINS, ROWS).tolist()
            delays = random.normal(0, 2, ROWS).round(3).tolist()
            clock = random.uniform(0, 2, ROWS).round(3).tolist()
            which = str(uuid7(event_ms, random.bytes(10)))
            more = {"entity": f"e{random.integers(1_000_000)}", "event_time_ms": event_ms}
            bodies.append(request(origins, delays, clock, id=which, **more))
            for index, row in enumerate(zip(origins, delays, clock, strict=True)):
                value = float(random.random() < expected(GOOD, "late", *row))
                told = {"id": which, "index": index, "task": "late", "value": value, "known_ms": event_ms + 1000}
                labels.append(told)
        yield Hour(at, bodies, labels)
