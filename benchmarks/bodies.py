"""Requests for every model as OIP v2 JSON, the same bytes for every server, with the answers that are right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from benchmarks.handmade import ITEM_WIDTH
from benchmarks.packages import WIDTH, dense_rows, flights_rows
from serinus.execute import Executor

Rows = dict[str, npt.NDArray[Any]]
NAMES = {"f": "FP32", "i": "INT64", "O": "BYTES", "U": "BYTES"}
TOLERANCE = 1e-5
CANDIDATES = 100
OF_A_CANDIDATE = {"dest", "carrier", "distance", "scheduled_minutes", "item", "features"}
"""Raw inputs in which the candidates of one ranking request differ; the others are the entity's."""


@dataclass(frozen=True)
class Request:
    """A body and task -> the probabilities that it must be answered with."""

    body: bytes
    right: dict[str, list[float]]


def body(rows: Mapping[str, npt.NDArray[Any]], entity: str) -> bytes:
    """OIP v2 JSON. A missing value is null."""
    inputs = []
    for name, values in rows.items():
        floats = values.dtype.kind == "f"
        gaps = floats and np.isnan(values).any()
        flat = values.ravel()
        data = [None if value != value else value for value in flat.tolist()] if gaps else flat.tolist()  # noqa: PLR0124
        if floats:
            data = [None if value is None else round(value, 4) for value in data]
        inputs.append({"name": name, "shape": [*values.shape], "datatype": NAMES[values.dtype.kind], "data": data})
    return orjson.dumps({"inputs": inputs, "parameters": {"entity": entity}})


def rounded(rows: Rows) -> Rows:
    """The rows as a body tells them."""
    return {n: v.round(4).astype(np.float32) if v.dtype.kind == "f" else v for n, v in rows.items()}


def rows_of(model: str, count: int, seed: int) -> Rows:
    """`count` rows of raw inputs of a model."""
    random = np.random.default_rng(seed)
    if model == "flights":
        known = flights_rows().rows
        return rounded(dict(known.take(random.integers(0, len(known), count)).raw))
    if model == "towers":
        sizes = (("user", WIDTH), ("item", ITEM_WIDTH))
        return rounded({name: random.normal(size=(count, width)).astype(np.float32) for name, width in sizes})
    features = dense_rows().raw["features"]
    found: Rows = {"features": features[random.integers(0, len(features), count)]}
    if model == "hanging":
        found["spin"] = np.zeros(count, np.int64)
    return rounded(found)


def singles(model: str, folder: Path, count: int = 64) -> list[Request]:
    """Requests of one row each."""
    executor = Executor(folder)
    made = []
    for at in range(count):
        rows = rows_of(model, 1, 1000 + at)
        made.append(Request(body(rows, f"entity-{at}"), _answer(executor, rows)))
    return made


def candidates(model: str, seed: int) -> Rows:
    """One entity with `CANDIDATES` candidates, its own inputs repeated."""
    rows = rows_of(model, CANDIDATES, 5000 + seed)
    return {n: v if n in OF_A_CANDIDATE else np.repeat(v[:1], CANDIDATES, axis=0) for n, v in rows.items()}


def rankings(model: str, folder: Path, count: int = 16) -> tuple[list[Request], list[Request]]:
    """(Batches of 100 rows, the same as ranking requests, which tell the entity's inputs once)."""
    executor = Executor(folder)
    batches, ranked = [], []
    for at in range(count):
        rows = candidates(model, at)
        right = _answer(executor, rows)
        once = {n: v if n in OF_A_CANDIDATE else v[:1] for n, v in rows.items()}
        batches.append(Request(body(rows, f"entity-{at}"), right))
        ranked.append(Request(body(once, f"entity-{at}"), right))
    return batches, ranked


def _answer(executor: Executor, rows: Rows) -> dict[str, list[float]]:
    return {task: values.tolist() for task, values in executor.run(rows).items()}


def wrong(request: Request, answer: bytes) -> str:
    """What is wrong with an answer to `request`, or ""."""
    outputs = orjson.loads(answer).get("outputs", ())
    got: dict[str, Sequence[float]] = {output["name"]: output["data"] for output in outputs}
    for task, right in request.right.items():
        if len(got.get(task, ())) != len(right):
            return f"task {task}: {len(got.get(task, ()))} values instead of {len(right)}"
        apart = float(np.abs(np.asarray(got[task]) - np.asarray(right)).max())
        if not apart <= TOLERANCE:
            return f"task {task} is off by {apart:.2g}"
    return ""
