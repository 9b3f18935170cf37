"""Columns of Python values as tensors of the Open Inference Protocol v2."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from serinus.errors import BadInput

__all__ = ["to_tensors"]


def to_tensors(inputs: Mapping[str, Any], datatypes: Mapping[str, str]) -> list[dict[str, Any]]:
    """Each input as {"name", "shape", "datatype", "data"}. A column is a list (or array) with one value a row.

    `datatypes`: as the model says; an input that it does not name gets that of its values. None and NaN travel as
    null. Raises BadInput when columns differ in length, a column is ragged, or a value is infinite."""
    tensors = []
    rows: int | None = None
    for name, column in inputs.items():
        values = column.tolist() if hasattr(column, "tolist") else list(column)
        shape = _shape(name, values)
        if rows is not None and shape[0] != rows:
            raise BadInput(f"input {name!r} has {shape[0]} rows, the inputs before it {rows}")
        rows = shape[0]
        flat = _flat(values)
        if any(isinstance(value, float) and math.isinf(value) for value in flat):
            raise BadInput(f"input {name!r} has an infinite value")
        tensors.append({"name": name, "shape": shape, "datatype": datatypes.get(name) or _kind(flat), "data": flat})
    return tensors


def _shape(name: str, values: list[Any]) -> list[int]:
    if not values or not isinstance(values[0], list | tuple):
        return [len(values)]
    inner = {tuple(_shape(name, list(value))) for value in values if isinstance(value, list | tuple)}
    if len(inner) != 1 or any(not isinstance(value, list | tuple) for value in values):
        raise BadInput(f"input {name!r}: its rows differ in shape")
    return [len(values), *inner.pop()]


def _flat(values: list[Any]) -> list[Any]:
    flat: list[Any] = []
    for value in values:
        if isinstance(value, list | tuple):
            flat.extend(_flat(list(value)))
        else:
            flat.append(None if isinstance(value, float) and math.isnan(value) else value)
    return flat


def _kind(values: list[Any]) -> str:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {str}:
        return "BYTES"
    if kinds == {bool}:
        return "BOOL"
    return "INT64" if kinds == {int} and None not in values else "FP32"
