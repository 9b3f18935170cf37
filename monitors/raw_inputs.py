"""Logged raw inputs as arrays again: many requests at once, grouped by which tensors they have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.execute import DTYPES
from serinus.records import InputRow, InputTensor

__all__ = ["Batch", "batches", "readable", "uniform", "unique"]

Ints = NDArray[np.int64]
Signature = tuple[tuple[str, str, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests with the same tensors. `at`: place of each row of `raw` among the rows of all requests, (rows,)."""

    raw: dict[str, NDArray[Any]]
    at: Ints

    def take(self, which: Any) -> Batch:
        return Batch({name: array[which] for name, array in self.raw.items()}, self.at[which])


def unique(rows: Sequence[InputRow]) -> list[InputRow]:
    """Each request once, in the order of their ids: whatever the order and the files in which they came."""
    kept: dict[bytes, InputRow] = {}
    for row in rows:
        known = kept.get(row.id)
        if known is None or _content(row) < _content(known):
            kept[row.id] = row
    return [kept[each] for each in sorted(kept)]


def _content(row: InputRow) -> tuple[int, str, str]:
    return row.rows, row.entity, repr(row.tensors)


def uniform(high: NDArray[np.uint64], low: NDArray[np.uint64]) -> NDArray[np.float64]:
    """A number in [0, 1) for each id, by nothing else (splitmix64; Steele, Lea and Flood 2014)."""
    with np.errstate(over="ignore"):
        z = low ^ (high * np.uint64(0x9E3779B97F4A7C15))
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return np.asarray((z >> np.uint64(11)).astype(np.float64) / 2.0**53)


def readable(request: InputRow) -> bool:
    """False where its tensors are not what they say; its number of rows then means nothing either."""
    return _signature(request) is not None


def batches(requests: Sequence[InputRow], starts: Ints, most: int) -> list[Batch]:
    """The rows of requests that are readable, in batches of about `most` rows.

    `starts`: place of each request's first row among the rows of all requests."""
    groups: dict[Signature, list[int]] = {}
    for number, request in enumerate(requests):
        if (signature := _signature(request)) is not None:
            groups.setdefault(signature, []).append(number)
    found = []
    for signature in sorted(groups):
        held: list[int] = []
        rows = 0
        for number in groups[signature]:
            held.append(number)
            rows += requests[number].rows
            if rows >= most:
                found.append(_batch(signature, [requests[n] for n in held], starts[held]))
                held, rows = [], 0
        if held:
            found.append(_batch(signature, [requests[n] for n in held], starts[held]))
    return found


def _signature(request: InputRow) -> Signature | None:
    """Names, types and shapes of a row's tensors; None where they are not what they say."""
    if request.rows < 1 or not request.tensors:
        return None
    said = []
    for tensor in request.tensors:
        if tensor.datatype not in DTYPES or not tensor.shape or tensor.shape[0] not in (1, request.rows):
            return None
        if any(side < 1 for side in tensor.shape) or _items(tensor) != math.prod(tensor.shape):
            return None
        said.append((tensor.name, tensor.datatype, tuple(tensor.shape[1:])))
    whole = any(tensor.shape[0] == request.rows for tensor in request.tensors)  # else `rows` is anybody's guess
    twice = len({name for name, _, _ in said}) < len(said)
    return tuple(sorted(said)) if whole and not twice else None


def _items(tensor: InputTensor) -> float:
    if isinstance(tensor.data, list):
        return len(tensor.data) if tensor.datatype == "BYTES" else -1
    if tensor.datatype == "BYTES":
        return -1
    return len(tensor.data) / np.dtype(DTYPES[tensor.datatype]).itemsize  # type: ignore[index]  # checked above


def _batch(signature: Signature, requests: list[InputRow], starts: Ints) -> Batch:
    raw = {}
    for name, datatype, shape in signature:
        tensors = [next(each for each in request.tensors if each.name == name) for request in requests]
        raw[name] = _column(tensors, [request.rows for request in requests], datatype, shape)
    at = np.concatenate([start + np.arange(request.rows) for start, request in zip(starts, requests, strict=True)])
    return Batch(raw, at.astype(np.int64))


def _column(tensors: list[InputTensor], rows: list[int], datatype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """All rows of one input, shape (rows, *shape); a tensor of one row stands for every row of its request."""
    if datatype == "BYTES":
        flat = np.array([text for tensor in tensors for text in tensor.data], np.object_)
    else:
        dtype = np.dtype(DTYPES[datatype])  # type: ignore[index]  # checked by `_signature`
        flat = np.frombuffer(
            b"".join(tensor.data for tensor in tensors if isinstance(tensor.data, bytes)), dtype.newbyteorder("<")
        ).astype(dtype)
    whole: NDArray[Any] = flat.reshape(-1, *shape)
    times = [count if tensor.shape[0] == 1 else 1 for tensor, count in zip(tensors, rows, strict=True)]
    if max(times) == 1:
        return whole
    return np.asarray(np.repeat(whole, np.repeat(times, [tensor.shape[0] for tensor in tensors]), axis=0))
