"""Tensors as they come, checked against what the versions in force take, and as arrays.

What is wrong becomes a BadInput that says where, and what was expected."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from serinus.errors import BadInput
from serinus.execute import DTYPES
from serinus.tasks import InputSpec
from serving.layout import NUMBERS, Specs

Tensor = NDArray[Any]
MAX_BODY_BYTES = 8 << 20
MAX_ROWS = 1024
MAX_NAMES = 4096
ONE_ROW = [1]
FEW, FP32_MAX = 16, float(np.finfo(np.float32).max)
MISSING = type(None)
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


def plain_floats(given: Sequence[Given], rows: Sequence[int], specs: Mapping[str, InputSpec]) -> dict[str, Tensor]:
    """All inputs of one FP32 a row, made at once, which is several times as fast as one by one.

    What is in any way unusual is left out, or all of it: `_tensor` has the words for that."""
    spans: list[tuple[str, int, int]] = []
    values: list[Any] = []
    gaps: list[int] = []
    for tensor, count in zip(given, rows, strict=True):
        data, spec = tensor.data, specs.get(tensor.name)
        if type(data) is not list or len(data) != count or tensor.datatype != "FP32" or spec is None:
            continue
        if spec.datatype != "FP32" or spec.shape or len(tensor.shape) != 1 or tensor.shape[0] != count:
            continue
        at = len(values)
        if None in data:
            if not spec.nullable:
                continue
            gaps += [at + place for place, value in enumerate(data) if value is None]
            data = [0.0 if value is None else value for value in data]
        values += data
        spans.append((tensor.name, at, at + count))
    if not values or not set(map(type, values)) <= NUMBERS or not -FP32_MAX <= min(values) <= max(values) <= FP32_MAX:
        return {}
    array = np.array(values, np.float32)
    if gaps:
        array[gaps] = np.nan
    return {name: array[begin:end] for name, begin, end in spans}


def absent(spec: InputSpec, rows: int) -> Tensor:
    """An input that was left out: NaN for floats, the empty text for BYTES, else 0; shape [rows, *shape]."""
    fill: Any = "" if spec.datatype == "BYTES" else np.nan if spec.datatype in ("FP32", "FP64") else 0
    return np.full((rows, *spec.shape), fill, dtype=DTYPES[spec.datatype])


def arrays(given: Sequence[Given], rows: Sequence[int], specs: Mapping[str, InputSpec]) -> dict[str, Tensor]:
    """Name -> array of each tensor as it came; `rows`: how many each should have."""
    if rows[0] == 1 and (known := _as_ever(given, specs)) is not None:
        return known
    tensors: dict[str, Tensor] = {}
    quick = plain_floats(given, rows, specs)
    for tensor, count in zip(given, rows, strict=True):
        spec = specs.get(tensor.name)
        if spec is None:
            raise BadInput(f"input {tensor.name!r} is unknown, expected {listed(specs)}")
        if tensor.name in tensors:
            raise BadInput(f"input {tensor.name!r} is given twice, expected each once")
        found = quick.get(tensor.name)
        tensors[tensor.name] = _tensor(tensor, spec, count) if found is None else found
    return tensors


def _as_ever(given: Sequence[Given], specs: Mapping[str, InputSpec]) -> dict[str, Tensor] | None:
    """The arrays of a request of one row and simple inputs; None: it is another one, or something is wrong."""
    if not isinstance(specs, Specs):
        return None
    layout = specs.layout(tuple([each.name for each in given]), tuple([each.datatype for each in given]))
    if layout is None:
        return None
    values = []
    for tensor in given:
        data = tensor.data
        if type(data) is not list or len(data) != 1 or tensor.shape != ONE_ROW:
            return None
        values.append(data[0])
    return layout.arrays(values)


def _tensor(given: Given, spec: InputSpec, rows: int) -> Tensor:
    if given.datatype != spec.datatype or tuple(given.shape) != (rows, *spec.shape):
        got = f"{given.datatype} of shape {list(given.shape)}"
        raise BadInput(f"input {spec.name!r} is {got}, expected {described(spec, rows)}")
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
        row = next((at for at, item in enumerate(data) if not _fits(item, spec)), 0) // max(1, _size(spec.shape))
        raise BadInput(f"row {row} of input {spec.name!r} has a value that is no {spec.datatype}: {error}") from error
    _bounded(tensor.reshape(-1, _size(spec.shape)), spec)
    return tensor


def _fits(item: Any, spec: InputSpec) -> bool:
    try:
        np.array(item, dtype=DTYPES[spec.datatype])
    except (ValueError, OverflowError, TypeError):
        return False
    return True


def _where(data: list[Any], spec: InputSpec, kinds: set[type]) -> str:
    at = next(at for at, item in enumerate(data) if type(item) in kinds)
    return f"row {at // _size(spec.shape) if _size(spec.shape) else 0}"


@functools.cache
def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64)) if shape else 1


def described(spec: InputSpec, rows: int) -> str:
    null = ", null where missing" if spec.nullable else ""
    return f"{spec.datatype} of shape {[rows, *spec.shape]}{null}"


def listed(names: Mapping[str, object]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:40]) + (f" and {len(shown) - 40} more" if len(shown) > 40 else "")
