"""The state of an `Assessor`, and of the input checks beside it, in one file without pickle. Replaced as a whole.

Format 2: SHA-256 (hex) of the rest, a line feed, and arrays as in `monitors.statefile`; those of the input checks have
names that begin with "inputs/".
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import numpy as np

from monitors.accumulation_state import under
from monitors.accumulators import State
from monitors.assess import Assessor
from monitors.statefile import digest_of, packed, unpack
from serinus.evidence import METHOD, WorkItem

FORMAT = 2
_DIGEST_BYTES = 64


class Header(msgspec.Struct, frozen=True):
    """What a checkpoint says of itself; `item`: JSON."""

    format: int
    method: str
    item: str


def save(assessor: Assessor, path: Path, inputs: State | None = None, labels: State | None = None) -> None:
    """Write the state and the last tick that is in it, in one durable replacement of the file. `inputs`: arrays of the
    input checks; `labels`: of how far labels were looked at."""
    header = Header(FORMAT, METHOD, assessor.item.model_dump_json(exclude={"last_tick_ms"}))
    arrays: State = {"header": np.frombuffer(msgspec.json.encode(header), np.uint8)}
    arrays |= {f"assessor/{name}": array for name, array in assessor.state().items()}
    arrays |= {f"inputs/{name}": array for name, array in (inputs or {}).items()}
    arrays |= {f"labels/{name}": array for name, array in (labels or {}).items()}
    state = packed(arrays, own=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(state.digest.encode() + b"\n")
        file.writelines(state.parts)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def load(path: Path) -> Assessor:
    """The assessor as it was saved; it goes on bit by bit as if it had never stopped.

    Raises ValueError when the file is of another format or method, OSError, ValueError or KeyError when it is
    damaged."""
    arrays = _arrays(path)
    header = msgspec.json.decode(arrays["header"].tobytes(), type=Header)
    if header.format != FORMAT or header.method != METHOD:
        raise ValueError(f"{path} is of format {header.format} and method {header.method}")
    return Assessor.of_state(WorkItem.model_validate_json(header.item), under(arrays, "assessor/"))


def inputs_of(path: Path) -> State:
    """The arrays of the input checks that were saved beside; none where there were none. Raises like `load`."""
    return under(_arrays(path), "inputs/")


def labels_of(path: Path) -> State:
    """The arrays of how far labels were looked at. Raises like `load`."""
    return under(_arrays(path), "labels/")


def _arrays(path: Path) -> State:
    data = path.read_bytes()
    digest, rest = data[:_DIGEST_BYTES], data[_DIGEST_BYTES + 1 :]
    if digest != digest_of(rest).encode():
        raise ValueError(f"{path} is damaged, or of an older format")
    return unpack(rest)
