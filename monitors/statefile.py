"""Arrays as bytes: the same arrays give the same bytes, on any machine and at any time.

A magic line; u32 length of a JSON index; the index; the arrays one after the other, little endian, by rising name.
Large arrays that are mostly 0 are written as places (u32) and values.
"""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

State = dict[str, NDArray[np.generic]]

MAGIC = b"serinus-state 2\n"
MAX_BYTES = 1 << 31
_LENGTH = struct.Struct("<I")
_SPARSE_FROM = 256
_ALL = np.ones(1, np.bool_)
_TYPES = frozenset({"|u1", "|b1", "<u4", "<i8", "<u8", "<f8"})


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """One array. `kept`: values that are written; fewer than the array has where it is sparse."""

    name: str
    dtype: str
    shape: list[int]
    kept: int


@dataclass(frozen=True, slots=True)
class Packed:
    """The bytes of arrays in parts, never joined: a state may be a third of what a process holds."""

    parts: tuple[bytes | memoryview, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of all of them, hex."""
        found = hashlib.sha256()
        for part in self.parts:
            found.update(part)
        return found.hexdigest()


def packed(arrays: State, *, own: bool = True) -> Packed:
    """The bytes of arrays. `own`: arrays may change afterwards. Raises ValueError at a type that is not known here."""
    index: list[Entry] = []
    parts: list[bytes | memoryview] = []
    for name, array in sorted(arrays.items()):
        flat = np.ascontiguousarray(array).reshape(-1)
        kind = flat.dtype.newbyteorder("<").str
        if kind not in _TYPES:
            raise ValueError(f"{name} is of type {kind}")
        there = flat != 0 if len(flat) >= _SPARSE_FROM else _ALL  # of booleans, numpy finds places many times faster
        kept = int(np.count_nonzero(there)) if there is not _ALL else len(flat)
        if kept * (4 + flat.itemsize) < flat.nbytes:
            places = np.flatnonzero(there).astype("<u4")
            parts += [_bytes_of(places), _bytes_of(flat[places])]
        else:
            kept = len(flat)
            parts.append(flat.tobytes() if own else _bytes_of(flat))
        index.append(Entry(name, kind, list(array.shape), kept))
    head = msgspec.json.encode(index)
    return Packed((MAGIC, _LENGTH.pack(len(head)), head, *parts))


def _bytes_of(array: NDArray[np.generic]) -> memoryview:
    return array.view(np.uint8).data


def pack(arrays: State) -> bytes:
    """The bytes of arrays, as one. Raises like `packed`."""
    return b"".join(packed(arrays, own=False).parts)


def unpack(data: bytes) -> State:
    """The arrays of `pack`. Raises ValueError at bytes that are not such."""
    try:
        return _unpacked(data)
    except (struct.error, msgspec.MsgspecError, IndexError, TypeError) as error:
        raise ValueError(f"not a state of accumulators: {error}") from error


def digest_of(data: bytes) -> str:
    """SHA-256, hex."""
    return hashlib.sha256(data).hexdigest()


def _unpacked(data: bytes) -> State:
    if not data.startswith(MAGIC):
        raise ValueError("not a state of a format that is known here")
    (length,) = _LENGTH.unpack_from(data, len(MAGIC))
    at = len(MAGIC) + _LENGTH.size + length
    arrays: State = {}
    total = 0
    for entry in msgspec.json.decode(data[at - length : at], type=list[Entry]):
        size = math.prod(entry.shape)
        if entry.dtype not in _TYPES or min(entry.shape, default=0) < 0 or not 0 <= entry.kept <= size:
            raise ValueError(f"{entry.name} cannot be of type {entry.dtype} and shape {entry.shape}")
        kind = np.dtype(entry.dtype)
        total += size * kind.itemsize
        if total > MAX_BYTES:
            raise ValueError(f"the arrays would take more than {MAX_BYTES:,} bytes")
        if entry.kept < size:
            places = _take(data, at, np.dtype("<u4"), entry.kept)
            at += places.nbytes
            whole = np.zeros(size, kind)
            whole[places] = _take(data, at, kind, entry.kept)
            at += entry.kept * kind.itemsize
        else:
            whole = _take(data, at, kind, size).copy()
            at += whole.nbytes
        arrays[entry.name] = whole.reshape(entry.shape)
    if at != len(data):
        raise ValueError("the state is longer or shorter than its index says")
    return arrays


def _take(data: bytes, at: int, kind: np.dtype[np.generic], count: int) -> NDArray[np.generic]:
    if at + count * kind.itemsize > len(data):
        raise ValueError("the state ends too soon")
    return np.frombuffer(data, kind, count, at)
