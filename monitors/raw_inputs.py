"""Logged raw inputs as arrays again: many requests at once, grouped by which tensors they have."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.execute import DTYPES
from serinus.records import InputRow, InputTensor

__all__ = ["Batch", "Signature", "batches", "signed", "uniform", "uniform_of", "unique"]

Ints = NDArray[np.int64]
_SIZES: dict[str, int] = {name: np.dtype(kind).itemsize for name, kind in DTYPES.items()}
Signature = tuple[tuple[str, str, tuple[int, ...]], ...]
"""Name, datatype and shape of one row of each tensor, by name."""


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


def uniform_of(requests: Sequence[InputRow]) -> NDArray[np.float64]:
    """The same for each request."""
    both = np.frombuffer(b"".join(request.id for request in requests), ">u8").reshape(-1, 2).astype(np.uint64)
    return uniform(both[:, 0], both[:, 1])


def signed(requests: Sequence[InputRow]) -> list[tuple[InputRow, Signature]]:
    """Those requests whose tensors are what they say, with that. Of the others not even the number of rows counts."""
    return [(request, said) for request in requests if (said := _signature(request)) is not None]


def batches(requests: Sequence[tuple[InputRow, Signature]], starts: Ints, most: int) -> list[Batch]:
    """The requests' rows in batches of about `most` rows.

    `starts`: place of each request's first row among the rows of all requests."""
    groups: dict[Signature, list[int]] = {}
    for number, (_, signature) in enumerate(requests):
        groups.setdefault(signature, []).append(number)
    found = []
    for signature in sorted(groups):
        held: list[int] = []
        rows = 0
        for number in groups[signature]:
            held.append(number)
            rows += requests[number][0].rows
            if rows >= most:
                found.append(_batch(signature, [requests[n][0] for n in held], starts[held]))
                held, rows = [], 0
        if held:
            found.append(_batch(signature, [requests[n][0] for n in held], starts[held]))
    return found


def _signature(request: InputRow) -> Signature | None:
    """Names, types and shapes of a row's tensors; None where they are not what they say."""
    if request.rows < 1 or not request.tensors:
        return None
    said, whole = [], False
    for tensor in request.tensors:
        shape = tensor.shape
        if tensor.datatype not in DTYPES or not shape or shape[0] not in (1, request.rows):
            return None
        if min(shape) < 1 or _items(tensor) != math.prod(shape):
            return None
        whole |= shape[0] == request.rows  # else `rows` is anybody's guess
        said.append((tensor.name, tensor.datatype, tuple(shape[1:])))
    said.sort()
    twice = any(a[0] == b[0] for a, b in itertools.pairwise(said))
    return tuple(said) if whole and not twice else None


def _name(tensor: InputTensor) -> str:
    return tensor.name


def _items(tensor: InputTensor) -> float:
    if isinstance(tensor.data, list):
        return len(tensor.data) if tensor.datatype == "BYTES" else -1
    if tensor.datatype == "BYTES":
        return -1
    return len(tensor.data) / _SIZES[tensor.datatype]


def _batch(signature: Signature, requests: list[InputRow], starts: Ints) -> Batch:
    rows = [request.rows for request in requests]
    tensors = zip(*(sorted(request.tensors, key=_name) for request in requests), strict=True)
    raw = {
        name: _column(list(each), rows, datatype, shape)
        for each, (name, datatype, shape) in zip(tensors, signature, strict=True)
    }
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
