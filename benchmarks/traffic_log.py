"""A model's logs on disk as the archiver leaves them, drawn at random: two versions, four tasks, two slices of ten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from serinus.archive import Archive, metadata
from serinus.archive_rows import entity_hash, parquet_options, schema
from serinus.records import Kind, hour_of, log_folder

MODEL, TASKS, VALUES = "m", ("click", "like", "share", "buy"), 10
SLICES = {name: [f"{name}-{at}" for at in range(VALUES)] for name in ("country", "device")}
START_MS = 480_000 * 3_600_000
TICK_MS = 600_000
USERS = 20_000
GROUP_ROWS = 20_000


def write(root: Path, requests: int, ticks: int, seed: int = 0) -> None:
    """`requests` a tick of ten minutes, each scored by both versions; one file a tick and kind; 2 % of rows twice."""
    random = np.random.default_rng(seed)
    for tick in range(ticks):
        at_ms = np.sort(random.integers(START_MS + tick * TICK_MS, START_MS + (tick + 1) * TICK_MS, requests))
        truth = random.normal(size=requests)
        ids = _ids(at_ms, random)
        _predictions(root, tick, ids, truth, random)
        happened = [np.flatnonzero(random.random(requests) < 1 / (1 + np.exp(2 - truth))) for _ in TASKS]
        _labels(root, tick, at_ms, ids, happened)


def _ids(at_ms: npt.NDArray[np.int64], random: np.random.Generator) -> Any:
    """UUIDv7 of the event times."""
    count = len(at_ms)
    high = (at_ms.astype(np.uint64) << np.uint64(16)) | np.uint64(0x7000)
    high |= random.integers(0, 4096, count).astype(np.uint64)
    low = np.uint64(1 << 63) | random.integers(0, 1 << 62, count).astype(np.uint64)
    packed = np.stack([high, low], axis=1).astype(">u8").tobytes()
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), count, [None, pa.py_buffer(packed)])


def _predictions(root: Path, tick: int, ids: Any, truth: npt.NDArray[np.float64], random: Any) -> None:
    count = len(truth)
    request = np.repeat(np.arange(count), 2)
    version = np.tile([1, 2], count)
    copies = np.repeat(np.arange(2 * count), np.where(random.random(2 * count) < 0.02, 2, 1))
    user = random.integers(0, USERS, count)
    p = 1 / (1 + np.exp(2 - truth[request][:, None] - random.normal(size=(2 * count, len(TASKS))) / 2))
    request, version, p, rows = request[copies], version[copies], p[copies], len(copies)
    shape = schema("predictions")
    score = shape.field("scores").type.value_type
    inner = {
        "task": pa.array(np.tile(np.array(TASKS, object), rows)),
        "value": pa.array(p.ravel()),
        "version": pa.array(np.repeat(version, len(TASKS))),
        "fallback": pa.array([""] * p.size),
        "classes": pa.array([b""] * p.size, pa.binary()),
    }
    country = np.array(SLICES["country"], object)[user % VALUES]
    device = np.array(SLICES["device"], object)[random.integers(0, VALUES, count)]
    items = pa.array(np.stack([country, device], axis=1)[request].ravel())
    hashes = np.array([entity_hash(f"user-{at}") for at in range(USERS)], np.uint64)
    names = pa.array(np.tile(np.array(list(SLICES), object), rows))
    columns = {
        "id": ids.take(pa.array(request)),
        "index": pa.array(np.zeros(rows, np.int64)),
        "arm": pa.array(np.array(["", "stable", "shadow"], object)[version]),
        "entity": pa.array(np.array([f"user-{at}" for at in range(USERS)], object)[user[request]]),
        "rollout": pa.array(["r1"] * rows),
        "epoch": pa.array(np.ones(rows, np.int64)),
        "scores": pa.ListArray.from_arrays(
            pa.array(np.arange(rows + 1) * len(TASKS), pa.int32()),
            pa.StructArray.from_arrays([inner[each.name] for each in score], fields=list(score)),
        ),
        "slices": pa.MapArray.from_arrays(pa.array(np.arange(rows + 1) * len(SLICES), pa.int32()), names, items),
        "latency_us": pa.array(random.integers(1_000, 9_000, rows)),
        "share": pa.array(np.ones(rows)),
        "entity_hash": pa.array(hashes[user[request]]),
    }
    _save(root, "predictions", tick, columns, rows)


def _labels(root: Path, tick: int, at_ms: npt.NDArray[np.int64], ids: Any, happened: list[Any]) -> None:
    """Only of what happened; what has no label in time did not."""
    request = np.concatenate(happened)
    task = np.repeat(np.array(TASKS, object), [len(each) for each in happened])
    order = np.argsort(request, kind="stable")
    request, task, rows = request[order], task[order], len(request)
    columns = {
        "id": ids.take(pa.array(request)),
        "index": pa.array(np.zeros(rows, np.int64)),
        "task": pa.array(task),
        "value": pa.array(np.ones(rows)),
        "known_ms": pa.array(at_ms[request] + 60_000),
    }
    _save(root, "labels", tick, columns, rows)


def _save(root: Path, kind: Kind, tick: int, columns: dict[str, Any], rows: int) -> None:
    columns |= {"writer": pa.array(["w"] * rows), "sequence": pa.array(np.arange(rows))}
    shape = schema(kind)
    table = pa.table([columns[each.name] for each in shape], schema=shape)
    folder = log_folder(root, kind, MODEL, hour_of(START_MS + tick * TICK_MS))
    folder.mkdir(parents=True, exist_ok=True)
    table = table.replace_schema_metadata(metadata(Archive([])))
    path = folder / f"tick-{tick}.parquet"
    pq.write_table(table, path, row_group_size=GROUP_ROWS, **parquet_options(kind))
