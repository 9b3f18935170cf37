"""Open Inference Protocol v2, JSON: requests become tensors, scores become answers.

Everything that comes in is bounded and checked against what the versions in force take; what is wrong becomes a
BadInput that says what was expected."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Mapping
from itertools import chain
from typing import Annotated, Any

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from serinus.errors import BadInput
from serinus.execute import DTYPES
from serinus.ids import event_ms_of
from serinus.routes import RouteTable
from serinus.tasks import InputSpec

Tensor = NDArray[Any]
MAX_BODY_BYTES = 8 << 20
MAX_ROWS = 1024
NUMBERS, MISSING = frozenset({int, float}), type(None)
PYTHON_TYPES: dict[str, tuple[frozenset[type], str]] = {
    "FP32": (NUMBERS, "numbers"),
    "FP64": (NUMBERS, "numbers"),
    "INT32": (frozenset({int}), "whole numbers"),
    "INT64": (frozenset({int}), "whole numbers"),
    "BOOL": (frozenset({bool}), "true or false"),
    "BYTES": (frozenset({str}), "texts"),
}
Short = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class TensorIn(msgspec.Struct):
    name: Short
    shape: Annotated[list[int], msgspec.Meta(min_length=1, max_length=8)]
    datatype: Short
    data: list[Any]


class OutputAsk(msgspec.Struct):
    name: Short


class Parameters(msgspec.Struct):
    entity: Short | None = None
    event_time_ms: int | None = None


class InferIn(msgspec.Struct):
    inputs: Annotated[list[TensorIn], msgspec.Meta(max_length=4096)]
    id: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    outputs: Annotated[list[OutputAsk], msgspec.Meta(max_length=256)] | None = None
    parameters: Parameters | None = None


class Ask(msgspec.Struct):
    """One checked request. `inputs`: tensor name -> array of shape [n, *shape], every input that is known, always.

    `id`, `event_ms`: as the caller gave them; `tasks`: () when all are wanted."""

    id: uuid.UUID | None
    event_ms: int | None
    entity: str
    tasks: tuple[str, ...]
    rows: int
    inputs: dict[str, Tensor]


_decoder = msgspec.json.Decoder(InferIn)


def parse(body: bytes, specs: Mapping[str, InputSpec], tasks: Mapping[str, int]) -> Ask:
    """The request in `body`, checked against the known inputs and the tasks that can be asked. Raises BadInput."""
    try:
        request = _decoder.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadInput(f"the body is not an inference request (OIP v2 JSON): {error}") from error
    if not request.inputs:
        raise BadInput(f"inputs is empty, expected {_list(specs)}")
    rows = request.inputs[0].shape[0]
    if not 1 <= rows <= MAX_ROWS:
        raise BadInput(f"inputs[0].shape says {rows} rows, expected 1 to {MAX_ROWS}")
    tensors: dict[str, Tensor] = {}
    for given in request.inputs:
        spec = specs.get(given.name)
        if spec is None:
            raise BadInput(f"input {given.name!r} is unknown, expected {_list(specs)}")
        if given.name in tensors:
            raise BadInput(f"input {given.name!r} is given twice, expected each once")
        tensors[given.name] = _tensor(given, spec, rows)
    for name, spec in specs.items():
        if name not in tensors:
            if spec.required:
                raise BadInput(f"input {name!r} is missing, expected {_described(spec, rows)}")
            tensors[name] = absent(spec, rows)
    asked = tuple(dict.fromkeys(output.name for output in request.outputs or ()))
    for task in asked:
        if task not in tasks:
            raise BadInput(f"output {task!r} is unknown, expected some of {_list(tasks)}")
    identity, event_ms = _identity(request)
    entity = (request.parameters.entity if request.parameters else None) or ""
    return Ask(id=identity, event_ms=event_ms, entity=entity, tasks=asked, rows=rows, inputs=tensors)


def absent(spec: InputSpec, rows: int) -> Tensor:
    """An input that was left out: NaN for floats, the empty text for BYTES, else 0; shape [rows, *shape]."""
    fill: Any = "" if spec.datatype == "BYTES" else np.nan if spec.datatype in ("FP32", "FP64") else 0
    return np.full((rows, *spec.shape), fill, dtype=DTYPES[spec.datatype])


def _identity(request: InferIn) -> tuple[uuid.UUID | None, int | None]:
    wanted = request.parameters.event_time_ms if request.parameters else None
    if wanted is not None and not 0 <= wanted < 1 << 48:
        raise BadInput(f"parameters.event_time_ms is {wanted}, expected Unix milliseconds")
    if not request.id:
        return None, wanted
    try:
        identity = uuid.UUID(request.id)
        carried = event_ms_of(identity)
    except ValueError as error:
        raise BadInput(f"id is {request.id!r}, expected a UUIDv7, or none at all") from error
    if wanted is not None and wanted != carried:
        raise BadInput(
            f"id carries the event time {carried}, but parameters.event_time_ms is {wanted}; send one of them"
        )
    return identity, carried


def _tensor(given: TensorIn, spec: InputSpec, rows: int) -> Tensor:
    if given.datatype != spec.datatype or tuple(given.shape) != (rows, *spec.shape):
        got = f"{given.datatype} of shape {given.shape}"
        raise BadInput(f"input {spec.name!r} is {got}, expected {_described(spec, rows)}")
    data = given.data
    for _ in spec.shape:  # OIP allows nested lists and a flat one
        if data and all(type(item) is list for item in data):
            data = list(chain.from_iterable(data))
    size = rows * _size(spec.shape)
    if len(data) != size:
        raise BadInput(f"input {spec.name!r} has {len(data)} values, expected {size}")
    allowed, words = PYTHON_TYPES[spec.datatype]
    kinds = set(map(type, data))
    if MISSING in kinds:
        if not spec.nullable or spec.datatype not in ("FP32", "FP64", "BYTES"):
            raise BadInput(f"input {spec.name!r} has a null, expected {words}: it is not nullable")
        kinds.discard(MISSING)
        if spec.datatype == "BYTES":
            data = ["" if item is None else item for item in data]
    if not kinds <= allowed:
        raise BadInput(f"input {spec.name!r} has other values than {words}, expected {_described(spec, rows)}")
    try:
        with np.errstate(over="ignore"):
            tensor = np.array(data, dtype=DTYPES[spec.datatype])
    except (ValueError, OverflowError, TypeError) as error:
        raise BadInput(f"input {spec.name!r} has a value that is no {spec.datatype}: {error}") from error
    if spec.datatype in ("FP32", "FP64") and np.isinf(tensor).any():
        raise BadInput(f"input {spec.name!r} has a value that is too large for {spec.datatype}")
    return tensor.reshape(rows, *spec.shape)


@functools.cache
def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64)) if shape else 1


def _described(spec: InputSpec, rows: int) -> str:
    null = ", null where missing" if spec.nullable else ""
    return f"{spec.datatype} of shape {[rows, *spec.shape]}{null}"


def _list(names: Mapping[str, object]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:40]) + (f" and {len(shown) - 40} more" if len(shown) > 40 else "")


class Output(msgspec.Struct):
    """One task's answer: probabilities (shape [n]), the version that was meant to give them, what stood in for it."""

    task: str
    values: Tensor
    version: int
    fallback: str = ""


def render(identity: uuid.UUID, arm: str, table: RouteTable, outputs: list[Output]) -> bytes:
    """The OIP v2 answer as JSON bytes. `model_version` lists each version once, in rising order."""
    versions = ",".join(map(str, sorted({output.version for output in outputs})))
    return orjson.dumps(
        {
            "model_name": table.model,
            "model_version": versions,
            "id": str(identity),
            "parameters": {"arm": arm, "epoch": table.epoch, "rollout": table.rollout or ""},
            "outputs": [
                {
                    "name": output.task,
                    "datatype": "FP32",
                    "shape": [len(output.values)],
                    "data": output.values,
                    "parameters": {"version": output.version, "fallback": output.fallback},
                }
                for output in outputs
            ],
        },
        option=orjson.OPT_SERIALIZE_NUMPY,
    )
