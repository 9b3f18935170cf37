"""The state of an `Assessor` in one npz file: arrays and one JSON header, no pickle. Replaced as a whole."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np

from monitors.accumulators import Cell, State
from monitors.assess import Assessor
from monitors.bins import Bins
from monitors.rates import FailureCounts
from monitors.rows import Scored
from monitors.verdicts import Latch
from serinus.evidence import METHOD, Stream, WorkItem

FORMAT = 1
_PACK_FROM = 4_096
_COLUMNS = ("event_ms", "entity", "y", "p", "slices")


class Header(msgspec.Struct, frozen=True):
    """What is not an array. `cells`, `failures`, `waiting`: keys, in the order of their arrays."""

    format: int
    method: str
    item: str
    cells: list[tuple[Stream, str, str]]
    failures: list[tuple[str, str]]
    bins: list[str]
    waiting: list[tuple[Stream, str]]
    violated: list[str]
    culprits: list[str]
    counts: dict[str, int]
    corrupt: list[str]
    first_event_ms: int | None
    last_tick_ms: int | None


def save(assessor: Assessor, path: Path) -> None:
    """Write the state and the last tick that is in it, in one durable replacement of the file."""
    header = Header(
        format=FORMAT,
        method=METHOD,
        item=assessor.item.model_dump_json(exclude={"last_tick_ms"}),
        cells=list(assessor.cells),
        failures=list(assessor.failures),
        bins=list(assessor.bins),
        waiting=list(assessor.waiting),
        violated=sorted(assessor.latch.violated),
        culprits=assessor.latch.culprits,
        counts=dict(assessor.counts),
        corrupt=sorted(assessor.corrupt),
        first_event_ms=assessor.first_event_ms,
        last_tick_ms=assessor.last_tick_ms,
    )
    arrays: State = {"header": np.frombuffer(msgspec.json.encode(header), np.uint8)}
    for at, cell in enumerate(assessor.cells.values()):
        arrays |= {f"cell/{at}/{name}": array for name, array in cell.state().items()}
    for at, counts in enumerate(assessor.failures.values()):
        arrays[f"failures/{at}/segments"] = counts.segments
        arrays[f"failures/{at}/totals"] = np.stack([counts.exposure, counts.failures])
    for at, pair in enumerate(assessor.bins.values()):
        arrays[f"bins/{at}"] = np.stack([bins.edges for bins in pair])
    for at, sides in enumerate(assessor.waiting.values()):
        for side, parts in enumerate(sides):
            rows = Scored.concat(parts, len(assessor.item.sla.slices))
            arrays |= {f"waiting/{at}/{side}/{name}": getattr(rows, name) for name in _COLUMNS}
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        np.savez(file, allow_pickle=False, **_packed(arrays))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def load(path: Path) -> Assessor:
    """The assessor as it was saved; it goes on bit by bit as if it had never stopped.

    Raises ValueError when the file is of another format or method, OSError or KeyError when it is damaged."""
    with np.load(path, allow_pickle=False) as file:
        arrays = _unpacked({name: file[name] for name in file.files})
    header = msgspec.json.decode(arrays["header"].tobytes(), type=Header)
    if header.format != FORMAT or header.method != METHOD:
        raise ValueError(f"{path} is of format {header.format} and method {header.method}")
    slices = len(WorkItem.model_validate_json(header.item).sla.slices)
    assessor = Assessor(WorkItem.model_validate_json(header.item))
    for at, place in enumerate(header.cells):
        prefix = f"cell/{at}/"
        assessor.cells[place] = Cell.of_state(_under(arrays, prefix))
    for at, key in enumerate(header.failures):
        totals = arrays[f"failures/{at}/totals"].astype(np.float64)
        segments = arrays[f"failures/{at}/segments"].astype(np.float64)
        assessor.failures[key] = FailureCounts(segments, totals[0], totals[1])
    for at, task in enumerate(header.bins):
        a, b = (Bins(edges) for edges in arrays[f"bins/{at}"].astype(np.float64))
        assessor.bins[task] = (a, b)
    for at, waits in enumerate(header.waiting):
        sides = [_rows(_under(arrays, f"waiting/{at}/{side}/"), slices) for side in (0, 1)]
        assessor.waiting[waits] = ([sides[0]], [sides[1]])
    assessor.latch = Latch(set(header.violated), header.culprits)
    assessor.counts, assessor.corrupt = Counter(header.counts), set(header.corrupt)
    assessor.first_event_ms, assessor.last_tick_ms = header.first_event_ms, header.last_tick_ms
    return assessor


def _rows(columns: State, slices: int) -> Scored:
    return Scored(
        columns["event_ms"].astype(np.int64),
        columns["entity"].astype(np.uint64),
        columns["y"].astype(np.float64),
        columns["p"].astype(np.float64),
        columns["slices"].astype(np.int64).reshape(-1, slices),
    )


def _under(arrays: State, prefix: str) -> State:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _packed(arrays: State) -> State:
    """Large arrays that are mostly 0 as (shape, places, values)."""
    packed: State = {}
    for name, array in arrays.items():
        places = np.flatnonzero(array) if array.size >= _PACK_FROM else None
        if places is None or len(places) > array.size // 4:
            packed[name] = array
        else:
            packed |= {f"{name}@shape": np.array(array.shape), f"{name}@at": places.astype(np.int32)}
            packed[f"{name}@values"] = array.ravel()[places]
    return packed


def _unpacked(packed: State) -> State:
    arrays = {name: array for name, array in packed.items() if "@" not in name}
    for name in (key.removesuffix("@shape") for key in packed if key.endswith("@shape")):
        values = packed[f"{name}@values"]
        whole = np.zeros(tuple(int(n) for n in packed[f"{name}@shape"]), values.dtype)
        whole.ravel()[packed[f"{name}@at"]] = values
        arrays[name] = whole
    return arrays
