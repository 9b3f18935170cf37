"""What the stories are made of: versions, what was measured of them, and the cells of a look."""

from __future__ import annotations

import math
import random
from typing import Any

from serinus.evidence import CellEvidence
from serinus.package import Manifest

TASKS = ("click", "buy", "rating")
SLICES = ("overall", "country=BR", "country=DE", "country=US")


def manifest_of(note: str) -> Manifest:
    files = {f"parts/{task}.onnx": {"sha256": "0" * 64, "size_bytes": 181_000} for task in TASKS}
    files |= {name: {"sha256": "0" * 64, "size_bytes": 900} for name in ("sample.json", "baseline.json")}
    return Manifest.model_validate(
        {
            "inputs": [{"name": "x", "datatype": "FP32"}],
            "parts": [
                {"name": t, "role": "head", "file": f"parts/{t}.onnx", "inputs": ["x"], "outputs": [f"{t}_p"]}
                for t in TASKS
            ],
            "tasks": [
                {
                    "name": t,
                    "kind": "regression" if t == "rating" else "binary",
                    "output": f"{t}_p",
                    "base_rate": 0.1,
                }
                for t in TASKS
            ],
            "provenance": {"note": note, "code_revision": "4f2c9e1", "data_window": "2024-01-01/2024-03-01"},
            "resident_bytes": 48_000_000,
            "files": files,
        }
    )


def measured_of(shift: float) -> dict[str, dict[str, dict[str, float]]]:
    """Training metrics per task and slice."""
    rng = random.Random(7)
    return {
        task: {
            place: {
                "auc": round(0.78 + shift + rng.uniform(-0.03, 0.03), 4),
                "log_loss": round(0.31 - shift + rng.uniform(-0.02, 0.02), 4),
                "labels": float(rng.randrange(2_000, 90_000)),
            }
            for place in SLICES
        }
        for task in TASKS[:2]
    }


def cells_of(share: float, trend: dict[str, float]) -> tuple[CellEvidence, ...]:
    """All cells after `share` of the evidence; `trend`: guard -> where its estimate goes to, in margins."""
    found = []
    for task in TASKS:
        for place in SLICES:
            for metric in ("loss", "bias") if task == "rating" else ("auc", "calibration"):
                found.append(_cell(task, place, metric, share, trend))
    found.append(_cell("click", "overall", "psi", share, trend, role="display"))
    return tuple(found)


def _cell(task: str, place: str, metric: Any, share: float, trend: dict[str, float], role: Any = None) -> CellEvidence:
    margin = {"auc": 0.01, "calibration": 0.1, "loss": 0.02, "bias": 0.1}.get(metric, 0.2)
    name = f"{task} / {place} / {metric}"
    rng = random.Random(f"{name} {share:.3f}")
    labels = int(40_000 * share * (1 if place == "overall" else 0.2) * (0.06 if task == "buy" else 1))
    few = labels < 900
    width = margin * 14 / math.sqrt(max(labels, 1) / 40 + 1)
    middle = margin * (trend.get(name, -0.1) * share + rng.uniform(-0.12, 0.12) * (1 - share))
    low, high = middle - width, middle + width
    bad, good = low > margin, high < margin
    verdict: Any = "violated" if bad else "satisfied" if good else "inconclusive"
    return CellEvidence(
        stream="canary" if task == "rating" else "shadow",
        task=task,
        slice=place,
        metric=metric,
        role=role or ("required" if place == "overall" else "optional"),
        weight=0.05,
        margin=margin,
        estimate=None if few else middle,
        low=None if few else low,
        high=None if few else high,
        e_violated=26.0 if bad else 0.4,
        e_satisfied=50.0 if good else 0.2,
        verdict="inconclusive" if few else verdict,
        baseline_value=0.812,
        candidate_value=0.812 - middle,
        labels=labels,
        positives=labels // 12,
        groups=labels // 20,
        needs=900 - labels if few else None,
        why=f"{900 - labels} more labels are needed" if few else "",
    )
