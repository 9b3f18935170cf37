"""The state of an `Assessor` in one npz file: arrays and one JSON header, no pickle. Replaced as a whole."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import numpy as np

from monitors.accumulation import Accumulation, under
from monitors.accumulators import State
from monitors.assess import Assessor
from monitors.verdicts import Latch
from serinus.evidence import METHOD, WorkItem

FORMAT = 2
_PACK_FROM = 4_096


class Header(msgspec.Struct, frozen=True):
    """What is neither accumulated nor an array."""

    format: int
    method: str
    item: str
    replay: bool
    violated: list[str]
    culprits: list[str]
    last_tick_ms: int | None


def save(assessor: Assessor, path: Path) -> None:
    """Write the state and the last tick that is in it, in one durable replacement of the file."""
    header = Header(
        format=FORMAT,
        method=METHOD,
        item=assessor.item.model_dump_json(exclude={"last_tick_ms"}),
        replay=assessor.replay,
        violated=sorted(assessor.latch.violated),
        culprits=assessor.latch.culprits,
        last_tick_ms=assessor.last_tick_ms,
    )
    arrays: State = {"header": np.frombuffer(msgspec.json.encode(header), np.uint8)}
    arrays |= {f"whole/{name}": array for name, array in assessor.whole.state().items()}
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
    item = WorkItem.model_validate_json(header.item)
    assessor = Assessor(item, header.replay)
    assessor.whole = Accumulation.of_state(item, under(arrays, "whole/"), replay=header.replay)
    assessor.latch = Latch(set(header.violated), header.culprits)
    assessor.last_tick_ms = header.last_tick_ms
    return assessor


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
