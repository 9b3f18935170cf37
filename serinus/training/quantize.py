"""The same model with narrower numbers: an INT8 or FP16 package made from an FP32 one.

    quantize("packages/7", "packages/7-int8", "int8", rows=validation.raw)

**int8**: the large matrix products of encoders, towers, mixers and heads are done with 8-bit integers, 2 to 4 times
as fast where the CPU has VNNI (`grep vnni /proc/cpuinfo`). Preprocessing, activations and last layers stay FP32. The
ranges of activations are learnt beforehand from `rows` (static quantization): a range found while serving would be
that of the whole batch, so that a row's answer would depend on the rows beside it. Weights use 7 of the 8 bits, by
column: so the sums fit 16 bits, and a CPU without VNNI gives the same answers.
**fp16**: weights are kept in half precision and computed with in single: half the files, the same speed (ONNX Runtime
has no half-precision kernels for x86), and answers that differ in the fourth digit.

The result is a version like any other: push it, and let a rollout judge it against the one that it was made from. Its
provenance names that one's digest, its `baseline.json` says how far the two are apart on `rows`.
Needs numpy, onnx and onnxruntime, not torch.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx

from serinus.errors import BadInput, InvalidPackage
from serinus.execute import Executor, Raw, parse_raw
from serinus.footprint import footprint
from serinus.inspect import inspect_package
from serinus.package import MANIFEST, Manifest, digest_of, write_manifest
from serinus.training.narrow import halve_weights, large_products, to_int8

__all__ = ["MEAN_APART", "quantize"]

MEAN_APART: Mapping[str, float] = {"int8": 1e-2, "fp16": 1e-3}
"""How far the probabilities of a task may be from those of the FP32 package, on average over `rows`; the numbers of a
regression task: relative to their standard deviation."""
MAX_ROWS = 4_096
LEAST_WEIGHTS = 4_096


def quantize(
    folder: Path | str,
    out: Path | str,
    precision: Literal["int8", "fp16"],
    *,
    rows: Raw | None = None,
    least_weights: int | None = None,
    mean_apart: float | None = None,
) -> Manifest:
    """Write the package of `folder` (FP32) in another precision to `out`, which must not exist yet (or be empty).

    `rows`: raw inputs as callers send them, a few hundred at least, on which ranges are learnt and the two packages
    compared; None: the few of sample.json. `least_weights`: matrices with fewer stay FP32; None: `LEAST_WEIGHTS`.
    `mean_apart`: None means that of `MEAN_APART`. Raises BadInput when there is nothing to do or `out` is taken,
    InvalidPackage when the answers are further apart."""
    folder, out = Path(folder), Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput(f"{out} exists already", "write to a new folder: a version is never overwritten")
    wide = Executor(folder)
    if wide.manifest.precision != "fp32":
        raise BadInput(f"{folder} is {wide.manifest.precision} already", "begin with the FP32 package")
    sample = parse_raw(wide.manifest, json.loads((folder / "sample.json").read_bytes())["inputs"])
    least = LEAST_WEIGHTS if least_weights is None else least_weights
    rows = _some(sample if rows is None else rows)
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        aside.chmod(0o755)
        shutil.copytree(folder, aside, dirs_exist_ok=True)
        narrowed = _narrow(wide, aside, precision, rows, least)
        told = {"precision": precision, "quantized_from": digest_of(folder), "quantized_parts": " ".join(narrowed)}
        _describe(wide.manifest, aside, told)
        apart = _apart(wide, Executor(aside), rows, MEAN_APART[precision] if mean_apart is None else mean_apart)
        _say(aside, sample, apart)
        manifest = _describe(wide.manifest, aside, told)
        inspect_package(aside)
        os.rename(aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return manifest


def _narrow(wide: Executor, folder: Path, precision: str, rows: Raw, least_weights: int) -> list[str]:
    """Rewrite the parts that have large matrices; gives their names."""
    tensors = wide.tensors(rows, wide.manifest.task_names)
    narrowed = []
    for part in wide.manifest.parts:
        path = folder / part.file
        if part.role == "preprocess":
            continue
        if precision == "fp16":
            done = halve_weights(path, least_weights)
        elif done := bool(products := large_products(onnx.load(path), least_weights)):
            to_int8(path, products, {name: tensors[name] for name in part.inputs})
        if done:
            narrowed.append(part.name)
    if not narrowed:
        raise BadInput(f"no part has a matrix of {least_weights} weights", "a model so small gains nothing by it")
    return narrowed


def _apart(wide: Executor, narrow: Executor, rows: Raw, limit: float) -> dict[str, dict[str, float]]:
    """task -> how far the two packages' answers are apart. Raises InvalidPackage beyond the limit."""
    before, after = wide.run(rows), narrow.run(rows)
    found = {}
    for task, p in before.items():
        spread = float(p.std()) if wide.manifest.task(task).kind == "regression" else 1.0
        apart = np.abs(after[task].astype(np.float64) - p) / (spread or 1.0)
        found[task] = {"mean": float(apart.mean()), "max": float(apart.max())}
        if not apart.mean() <= limit:
            raise InvalidPackage(
                f"task {task!r}: its answers are {apart.mean():.2g} apart on average, more than {limit:g}",
                "give more rows that look like those of callers, or leave the model as it is",
            )
    return found


def _say(folder: Path, sample: Raw, apart: Mapping[str, Any]) -> None:
    """What the narrow package answers to the sample, and how far it is from the wide one."""
    told = json.loads((folder / "sample.json").read_bytes())
    told["outputs"] = {task: p.tolist() for task, p in Executor(folder).run(sample).items()}
    (folder / "sample.json").write_text(json.dumps(told, indent=1, allow_nan=False) + "\n")
    baseline = json.loads((folder / "baseline.json").read_bytes())
    (folder / "baseline.json").write_text(json.dumps({**baseline, "apart": apart}, indent=1, allow_nan=False) + "\n")


def _describe(wide: Manifest, folder: Path, told: Mapping[str, str]) -> Manifest:
    """The manifest of what lies in the folder now."""
    (folder / MANIFEST).unlink(missing_ok=True)
    body = wide.model_dump(mode="json", exclude={"files", "resident_bytes"})
    provenance = {**wide.provenance, **told}
    resident = footprint([folder / part.file for part in wide.parts])
    changed = {"precision": told["precision"], "resident_bytes": resident, "provenance": provenance}
    return write_manifest(folder, {**body, **changed})


def _some(raw: Raw) -> dict[str, npt.NDArray[Any]]:
    """At most MAX_ROWS of them, evenly spread."""
    count = len(next(iter(raw.values())))
    chosen = np.linspace(0, count - 1, min(count, MAX_ROWS)).astype(np.int64)
    return {name: np.asarray(column)[chosen] for name, column in raw.items()}
