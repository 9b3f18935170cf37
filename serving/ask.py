"""What is asked and what is answered, whatever the protocol: JSON, binary tensors and gRPC all end up here.

Everything that comes in is bounded and checked against what the versions in force take; what is wrong becomes a
BadInput that says where, and what was expected."""

from __future__ import annotations

import functools
import hashlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from serinus.errors import BadInput
from serinus.execute import DTYPES
from serinus.ids import event_ms_of
from serinus.records import Arm
from serinus.routes import RouteTable
from serinus.tasks import InputSpec

Tensor = NDArray[Any]
MAX_BODY_BYTES = 8 << 20
MAX_ROWS = 1024
MAX_NAMES = 4096
FEW, FP32_MAX = 16, float(np.finfo(np.float32).max)
NUMBERS, MISSING = frozenset({int, float}), type(None)
PYTHON_TYPES: dict[str, tuple[frozenset[type], str]] = {
    "FP32": (NUMBERS, "numbers"),
    "FP64": (NUMBERS, "numbers"),
    "INT32": (frozenset({int}), "whole numbers"),
    "INT64": (frozenset({int}), "whole numbers"),
    "BOOL": (frozenset({bool}), "true or false"),
    "BYTES": (frozenset({str}), "texts"),
}


class Given(msgspec.Struct):
    """One tensor as it came. `data`: JSON values, flat or nested, or an array of the datatype, of any shape."""

    name: str
    datatype: str
    shape: Sequence[int]
    data: list[Any] | Tensor


class Caller(msgspec.Struct):
    """What a request says of itself. `timeout_us`: how long its caller waits (Triton's unit, microseconds).

    `attributes`: values of slices that are no inputs."""

    id: str = ""
    entity: str = ""
    event_time_ms: int | None = None
    join_key: str = ""
    attributes: dict[str, str] = {}
    timeout_us: int | None = None


class Ask(msgspec.Struct):
    """One checked request. `inputs`: tensor name -> array of shape [n, *shape], every input that is known, always.

    `id`, `event_ms`: as the caller gave them, or as its join key gives them; `said`: the id it wants to read in the
    answer. `tasks`: () when all are wanted. `pinned`: the caller named the version, so that the answer is stable's and
    belongs to no rollout. In a ranking request an input has `rows` rows or, where it is the
    entity's, one."""

    id: uuid.UUID | None
    event_ms: int | None
    entity: str
    tasks: tuple[str, ...]
    rows: int
    inputs: dict[str, Tensor]
    said: str = ""
    attributes: dict[str, str] = {}
    timeout_us: int | None = None
    pinned: bool = False


class Output(msgspec.Struct):
    """One task's answer: probabilities (shape [n]), the version that was meant to give them, what stood in for it."""

    task: str
    values: Tensor
    version: int
    fallback: str = ""


class Answer(msgspec.Struct):
    """What a front door says to one request."""

    identity: uuid.UUID
    said: str
    arm: Arm
    table: RouteTable
    outputs: list[Output]
    rows: int


def check(
    given: Sequence[Given],
    caller: Caller,
    asked: Iterable[str],
    specs: Mapping[str, InputSpec],
    tasks: Mapping[str, int],
    *,
    ranking: bool = False,
) -> Ask:
    """The request, checked against the known inputs and the tasks that can be asked. Raises BadInput.

    `ranking`: inputs may have one row while others have more."""
    if not given:
        raise BadInput(f"inputs is empty, expected {_list(specs)}")
    if len(given) > MAX_NAMES:
        raise BadInput(f"there are {len(given)} inputs, expected at most {MAX_NAMES}")
    counts = [tensor.shape[0] if len(tensor.shape) else 0 for tensor in given]
    rows = max(counts) if ranking else counts[0]
    if not 1 <= rows <= MAX_ROWS:
        raise BadInput(f"inputs[0].shape says {rows} rows, expected 1 to {MAX_ROWS}")
    tensors = _tensors(given, [count if ranking and count == 1 else rows for count in counts], specs)
    for name, spec in specs.items():
        if name not in tensors:
            if spec.required:
                raise BadInput(f"input {name!r} is missing, expected {_described(spec, rows)}")
            tensors[name] = absent(spec, 1 if ranking else rows)
    wanted = tuple(dict.fromkeys(asked))
    for task in wanted:
        if task not in tasks:
            raise BadInput(f"output {task!r} is unknown, expected some of {_list(tasks)}")
    identity, event_ms, said = identify(caller)
    if caller.timeout_us is not None and caller.timeout_us < 1:
        raise BadInput(f"parameters.timeout is {caller.timeout_us}, expected microseconds, at least 1")
    return Ask(
        id=identity,
        event_ms=event_ms,
        entity=caller.entity,
        tasks=wanted,
        rows=rows,
        inputs=tensors,
        said=said,
        attributes=caller.attributes,
        timeout_us=caller.timeout_us,
    )


def identify(caller: Caller) -> tuple[uuid.UUID | None, int | None, str]:
    """(Request id, event time in Unix ms, the id to be read in the answer). Raises BadInput.

    An id that is a UUIDv7 is the request's own and carries its event time. Any other text is only given back. A join
    key, with its event time, makes an id that whoever has the same two can make again: `joined_id`."""
    wanted = caller.event_time_ms
    if wanted is not None and not 0 <= wanted < 1 << 48:
        raise BadInput(f"parameters.event_time_ms is {wanted}, expected Unix milliseconds")
    if caller.join_key:
        if wanted is None:
            raise BadInput("parameters.join_key needs parameters.event_time_ms beside it")
        return joined_id(caller.join_key, wanted), wanted, caller.id
    try:
        identity = uuid.UUID(caller.id)
        carried = event_ms_of(identity)
    except ValueError:
        return None, wanted, caller.id
    if wanted is not None and wanted != carried:
        raise BadInput(
            f"id carries the event time {carried}, but parameters.event_time_ms is {wanted}; send one of them"
        )
    return identity, carried, ""


def joined_id(join_key: str, event_ms: int) -> uuid.UUID:
    """The UUIDv7 of a caller's own join key: its event time, then 74 bits of the key's BLAKE2b."""
    digest = hashlib.blake2b(join_key.encode(), digest_size=10, person=b"serinus-join-key").digest()
    number = int.from_bytes(event_ms.to_bytes(6, "big") + digest, "big")
    number = number & ~(0xF << 76) | 7 << 76
    return uuid.UUID(int=number & ~(0x3 << 62) | 2 << 62)


def absent(spec: InputSpec, rows: int) -> Tensor:
    """An input that was left out: NaN for floats, the empty text for BYTES, else 0; shape [rows, *shape]."""
    fill: Any = "" if spec.datatype == "BYTES" else np.nan if spec.datatype in ("FP32", "FP64") else 0
    return np.full((rows, *spec.shape), fill, dtype=DTYPES[spec.datatype])


def _tensors(given: Sequence[Given], rows: Sequence[int], specs: Mapping[str, InputSpec]) -> dict[str, Tensor]:
    """Name -> array of each tensor as it came; `rows`: how many each should have."""
    tensors: dict[str, Tensor] = {}
    for tensor, count in zip(given, rows, strict=True):
        spec = specs.get(tensor.name)
        if spec is None:
            raise BadInput(f"input {tensor.name!r} is unknown, expected {_list(specs)}")
        if tensor.name in tensors:
            raise BadInput(f"input {tensor.name!r} is given twice, expected each once")
        found = _single(tensor, spec) if count == 1 else None
        tensors[tensor.name] = _tensor(tensor, spec, count) if found is None else found
    return tensors


def _single(given: Given, spec: InputSpec) -> Tensor | None:
    """The one value of one row, which most requests consist of; None: whatever is unusual in it, `_tensor` says."""
    data, datatype = given.data, spec.datatype
    if spec.shape or given.datatype != datatype or list(given.shape) != [1] or type(data) is not list or len(data) != 1:
        return None
    value = data[0]
    kind = type(value)
    if datatype == "FP32":
        if (kind is float or kind is int) and -FP32_MAX <= value <= FP32_MAX:
            return np.array(data, np.float32)
    elif datatype == "BYTES" and kind is str:
        return np.array(data, np.object_)
    return None


def _tensor(given: Given, spec: InputSpec, rows: int) -> Tensor:
    if given.datatype != spec.datatype or tuple(given.shape) != (rows, *spec.shape):
        got = f"{given.datatype} of shape {list(given.shape)}"
        raise BadInput(f"input {spec.name!r} is {got}, expected {_described(spec, rows)}")
    size = rows * _size(spec.shape)
    if isinstance(given.data, list):
        return _array(given.data, spec, size).reshape(rows, *spec.shape)
    tensor = given.data
    if tensor.size != size:
        raise BadInput(f"input {spec.name!r} has {tensor.size} values, expected {size}")
    tensor = tensor.reshape(rows, *spec.shape)
    if spec.datatype in ("FP32", "FP64"):
        _bounded(tensor, spec)
        if not spec.nullable and np.isnan(tensor).any():
            row = int(np.isnan(tensor.reshape(rows, -1)).any(axis=1).argmax())
            raise BadInput(f"row {row} of input {spec.name!r} is NaN, expected numbers: it is not nullable")
    return tensor


def _bounded(tensor: Tensor, spec: InputSpec) -> None:
    """Raises BadInput when a value is infinite, which it is when it was too large."""
    if np.isinf(tensor).any():
        row = int(np.isinf(tensor.reshape(len(tensor), -1)).any(axis=1).argmax())
        raise BadInput(f"row {row} of input {spec.name!r} has a value that is too large for {spec.datatype}")


def _array(data: list[Any], spec: InputSpec, size: int) -> Tensor:
    """JSON values as an array of shape [size]. Raises BadInput that names the row where one value is wrong."""
    for _ in spec.shape:  # OIP allows nested lists and a flat one
        if data and all(type(item) is list for item in data):
            data = list(chain.from_iterable(data))
    if len(data) != size:
        raise BadInput(f"input {spec.name!r} has {len(data)} values, expected {size}")
    allowed, words = PYTHON_TYPES[spec.datatype]
    kinds = set(map(type, data))
    plain = kinds <= allowed
    if MISSING in kinds:
        if not spec.nullable or spec.datatype not in ("FP32", "FP64", "BYTES"):
            raise BadInput(
                f"{_where(data, spec, {MISSING})} of input {spec.name!r} is null, expected {words}: it is not nullable"
            )
        kinds.discard(MISSING)
        if spec.datatype == "BYTES":
            data = ["" if item is None else item for item in data]
    if not plain and (wrong := kinds - allowed):
        raise BadInput(f"{_where(data, spec, wrong)} of input {spec.name!r} is no {spec.datatype}, expected {words}")
    try:
        if spec.datatype != "FP32":
            return np.array(data, dtype=DTYPES[spec.datatype])
        if plain and size <= FEW and (not size or -FP32_MAX <= min(data) <= max(data) <= FP32_MAX):
            return np.array(data, dtype=np.float32)  # the check below costs more than all the rest for a few values
        with np.errstate(over="ignore"):
            tensor = np.array(data, dtype=np.float32)
    except (ValueError, OverflowError, TypeError) as error:
        raise BadInput(f"input {spec.name!r} has a value that is no {spec.datatype}: {error}") from error
    _bounded(tensor.reshape(-1, _size(spec.shape)), spec)
    return tensor


def _where(data: list[Any], spec: InputSpec, kinds: set[type]) -> str:
    at = next(at for at, item in enumerate(data) if type(item) in kinds)
    return f"row {at // _size(spec.shape) if _size(spec.shape) else 0}"


@functools.cache
def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64)) if shape else 1


def _described(spec: InputSpec, rows: int) -> str:
    null = ", null where missing" if spec.nullable else ""
    return f"{spec.datatype} of shape {[rows, *spec.shape]}{null}"


def _list(names: Mapping[str, object]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:40]) + (f" and {len(shown) - 40} more" if len(shown) > 40 else "")
