"""Past traffic with logged inputs and labels, and packages with real graphs that score it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
from scipy.special import expit

from serinus.evidence import WorkItem
from serinus.jobs import Job
from serinus.package import digest_of, write_manifest
from serinus.preflights import PreflightParams
from serinus.records import (
    MAGIC,
    InputRow,
    InputTensor,
    LabelRow,
    PredictionRow,
    Score,
    encode_row,
    hour_of,
    log_folder,
)
from serinus.rollouts import Preflight
from serinus.routes import PackageRef
from serinus.sla import Sla

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
T0 = 19_000 * DAY_MS
"""Where the traffic begins; it goes on for DAYS, and labels are complete UNTIL_MS."""
DAYS, MATURE_DAYS = 9, 2
UNTIL_MS = T0 + DAYS * DAY_MS
COUNTRIES = ("BR", "DE", "XX")

SLA = Sla.model_validate(
    {
        "model": "ads",
        "tasks": {
            "click": {"label_window_s": 1800, "absent": "negative"},
            "stay": {"label_window_s": 7 * 86_400, "absent": "unlabelled"},
        },
        "slices": {"country": list(COUNTRIES)},
        "serving": {"inputs_share": 0.5},
        "tick_s": 600,
        "freeze_scores": 500,
    }
)
GRAPHS = {
    "good": "one = Constant <value_float = 0.05> () m = Mul(a, one) l = Add(x, m)",
    "twin": "one = Constant <value_float = 0.05> () m = Mul(b, one) l = Add(x, m)",
    "broken": "two = Constant <value_float = 2.0> () bad = Equal(c, two) l = Where(bad, a, x)",
}
"""What the heads read: `broken` gives one country noise."""


def package(folder: Path, graph: str, *, optional: tuple[str, ...] = ()) -> PackageRef:
    """A package with one part and two heads in it; `optional`: inputs more that it declares and reads nothing of."""
    (folder / "parts").mkdir(parents=True)
    text = (
        '<ir_version: 8, opset_import: ["" : 17]>\n'
        "h (float[n] x, float[n] a, float[n] b, float[n] c) => (float[n] click_p, float[n] stay_p) "
        f"{{ {GRAPHS[graph]} click_p = Sigmoid(l) k = Neg(l) q = Neg(k) stay_p = Sigmoid(q) }}"
    )
    (folder / "parts/h.onnx").write_bytes(onnx.parser.parse_model(text).SerializeToString())
    (folder / "sample.json").write_text("{}")
    (folder / "baseline.json").write_text("{}")
    tasks = [{"name": t, "kind": "binary", "output": f"{t}_p", "base_rate": 0.3} for t in ("click", "stay")]
    names = ("x", "a", "b", "c")
    told: dict[str, Any] = {
        "inputs": [{"name": name, "datatype": "FP32"} for name in names]
        + [{"name": name, "datatype": "FP32", "required": False, "nullable": True} for name in optional],
        "parts": [
            {"name": "h", "role": "head", "file": "parts/h.onnx", "inputs": names, "outputs": ("click_p", "stay_p")}
        ],
        "tasks": tasks,
    }
    write_manifest(folder, told)
    return PackageRef(digest=digest_of(folder), uri=folder.as_uri())


def write(log: Path, rows: Iterable[Any], writer: str = "w0") -> None:
    """Append rows of any kind to the logs of `ads`."""
    kinds = {InputRow: "inputs", LabelRow: "labels", PredictionRow: "predictions"}
    files: dict[Path, list[bytes]] = {}
    for row in rows:
        hour = hour_of(int.from_bytes(row.id[:6], "big"))
        path = log_folder(log, kinds[type(row)], "ads", hour) / f"{writer}.log"  # type: ignore[arg-type]
        files.setdefault(path, []).append(encode_row(row))
    for path, frames in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        old = path.read_bytes() if path.exists() else MAGIC
        path.write_bytes(old + b"".join(frames))


def traffic(
    seed: int = 1, requests: int = 9_000, *, inputs: bool = True, shift: float = 0.0, logged_by: int = 1
) -> list[Any]:
    """Requests of 300 users: the first two days, whose labels are all known, and the last one (moved by `shift`).

    Every second user's inputs are logged. `logged_by`: the version that answered; every fifth came from another."""
    rng = np.random.default_rng(seed)
    rows: list[Any] = []
    old = rng.integers(T0, T0 + MATURE_DAYS * DAY_MS, requests)
    new = rng.integers(UNTIL_MS - DAY_MS, UNTIL_MS, requests // 4)
    for number, at in enumerate(np.sort(np.concatenate([old, new])).tolist()):
        user = int(rng.integers(300))
        x, a, b = rng.normal(size=3).astype(np.float32)
        x = np.float32(x - 1 + (shift if at >= UNTIL_MS - DAY_MS else 0.0))
        c = user % 3
        identity = at.to_bytes(6, "big") + rng.bytes(10)
        version = logged_by if number % 5 else 7
        p = float(expit(np.float32(x + np.float32(0.05) * a))) if version == 1 else 0.5
        scores = [Score(task, p, version) for task in ("click", "stay")]
        told = {"country": COUNTRIES[c]}
        rows.append(PredictionRow(identity, 0, "stable", f"u{user}", "", 1, scores, told, 900))
        if inputs and user % 2 == 0:
            values = {"x": x, "a": a, "b": b, "c": np.float32(c)}
            tensors = [InputTensor(name, "FP32", [1], value.tobytes()) for name, value in values.items()]
            rows.append(InputRow(identity, f"u{user}", 1, tensors, 0.5))
        clicked, stayed = rng.random(2) < expit(float(x) + 0.3 * rng.normal())
        if clicked:
            rows.append(LabelRow(identity, 0, "click", 1.0, at + 60_000))
        if at + 6 * DAY_MS < UNTIL_MS:
            rows.append(LabelRow(identity, 0, "stay", float(stayed), at + 6 * DAY_MS))
    return rows


def job_of(baseline: PackageRef, candidate: PackageRef, *, sla: Sla = SLA, **preflight: Any) -> Job:
    """A preflight of the first two days, with a fifth of alpha."""
    item = WorkItem(
        rollout="r1",
        model="ads",
        sla=sla,
        baseline=1,
        candidate=2,
        alpha=0.01,
        started_event_ms=0,
        packages={1: baseline, 2: candidate},
    )
    asked = Preflight.model_validate({"window_s": MATURE_DAYS * 86_400, **preflight})
    params = PreflightParams(item=item, preflight=asked, until_ms=UNTIL_MS).model_dump(mode="json")
    return Job(id="preflight-r1", kind="preflight", model="ads", params=params, state="running")
