"""The binary tensor extension: JSON first, of a length that a header tells, then the bytes of the tensors it names.

Numbers are little-endian, BOOL is a byte, and each value of BYTES stands after its length (4 bytes)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from serinus.errors import BadInput
from serinus.execute import DTYPES
from serinus.tasks import InputSpec
from serving.ask import MAX_ROWS, Tensor


def divided(body: bytes, header: bytes) -> tuple[bytes, memoryview | None]:
    """(The JSON, the bytes behind it; None without the extension). `header`: Inference-Header-Content-Length."""
    if not header:
        return body, None
    if not header.isdigit() or len(header) > 9 or int(header) > len(body):
        said = header[:32].decode("latin-1")
        raise BadInput(f"Inference-Header-Content-Length is {said!r}, expected 0 to {len(body)}: the body's length")
    length = int(header)
    return body[:length], memoryview(body)[length:]


class Tail:
    """The bytes behind the JSON, taken tensor by tensor."""

    def __init__(self, tail: memoryview | None, specs: Mapping[str, InputSpec]) -> None:
        self._tail, self._specs, self._at = tail, specs, 0

    def take(self, name: str, datatype: str, shape: list[int], size: int) -> Tensor:
        """The next `size` bytes as an array. Raises BadInput.

        Of an input that is unknown or has another shape nothing is decoded: it is refused where all inputs are."""
        if self._tail is None:
            raise BadInput(f"input {name!r} has binary_data_size, but there is no Inference-Header-Content-Length")
        start, self._at = self._at, self._at + size
        if size < 0 or self._at > len(self._tail):
            left = max(len(self._tail) - start, 0)
            raise BadInput(f"input {name!r} has binary_data_size {size}, but {left} bytes are left behind the JSON")
        spec = self._specs.get(name)
        if spec is None or datatype != spec.datatype or tuple(shape[1:]) != spec.shape or not 1 <= shape[0] <= MAX_ROWS:
            return np.empty(0, np.float32)
        count = shape[0]
        for length in spec.shape:
            count *= length
        return raw_tensor(f"input {name!r}", datatype, bytes(self._tail[start : self._at]), count)

    def end(self) -> None:
        """Raises BadInput when bytes are left over."""
        if self._tail is not None and self._at != len(self._tail):
            raise BadInput(f"{len(self._tail) - self._at} bytes behind the JSON belong to no input")


def raw_tensor(name: str, datatype: str, raw: bytes, size: int) -> Tensor:
    """`size` values of a datatype of `DTYPES`, shape [size]. Raises BadInput."""
    if datatype == "BYTES":
        return texts(name, _split(name, raw, size))
    dtype = np.dtype(DTYPES[datatype]).newbyteorder("<")  # type: ignore[index]  # a key of DTYPES
    if len(raw) != size * dtype.itemsize:
        raise BadInput(f"{name} has {len(raw)} raw bytes, expected {size * dtype.itemsize} by its shape")
    if datatype == "BOOL" and raw.strip(b"\0\1"):
        raise BadInput(f"{name} has a raw byte that is neither 0 nor 1, expected true or false")
    return np.frombuffer(raw, dtype=dtype)


def _split(name: str, raw: bytes, size: int) -> list[bytes]:
    values: list[bytes] = []
    at, end = 0, len(raw)
    while at < end:
        start = at + 4
        at = start + int.from_bytes(raw[at:start], "little")
        if at > end or start > end or len(values) == size:
            raise BadInput(f"{name} does not hold {size} values: value {len(values)} is cut short or too many")
        values.append(raw[start:at])
    if len(values) != size:
        raise BadInput(f"{name} has {len(values)} values, expected {size} by its shape")
    return values


def texts(name: str, values: Iterable[bytes]) -> Tensor:
    """UTF-8 texts as an array of objects. Raises BadInput that names the value which is none."""
    found: list[Any] = []
    for at, value in enumerate(values):
        try:
            found.append(value.decode())
        except UnicodeDecodeError as error:
            raise BadInput(f"value {at} of {name} is no UTF-8 text") from error
    return np.array(found, dtype=object)
