"""Adding many rows to the arrays of many cells at once. Pure but for the arrays that it adds to.

The arrays of all cells of one slice column (all its values; or of everybody, as one value) lie in one block whose first
axis is the value's place. So each row's number in the flat block is one sum of products, and one pass adds them all:
about 1 ns a row, however many slices there are, where a mask for each slice costs a pass for each slice.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Counts = NDArray[np.float64] | NDArray[np.uint32]


def add_counts(into: Counts, *axes: Ints) -> None:
    """into[axes[0][i], axes[1][i], ...] += 1 for each row i. `into`: contiguous; each of `axes`: shape (n,), inside."""
    flat = _flat(into)
    np.add.at(flat, _numbers(into.shape, axes), flat.dtype.type(1))


def add_sums(into: Floats, columns: Floats, *axes: Ints) -> None:
    """into[axes[0][i], ..., c] += columns[c, i] for each row i and column c.

    `into`: contiguous, its last axis the columns; `columns`: shape (c, n); each of `axes`: shape (n,), inside."""
    flat = _flat(into)
    at = _numbers(into.shape[:-1], axes) * into.shape[-1]
    for number, column in enumerate(columns):
        np.add.at(flat, at + number if number else at, column)


def _flat(into: Counts) -> Counts:
    """A view; raises ValueError where there can be none, for then the sums would go nowhere."""
    if not into.flags.c_contiguous:
        raise ValueError("the array is not contiguous")
    return into.reshape(-1)


def _numbers(shape: tuple[int, ...], axes: tuple[Ints, ...]) -> Ints:
    if len(shape) != len(axes):
        raise ValueError(f"{len(axes)} axes for an array of {len(shape)}")
    at = axes[0]
    for size, axis in zip(shape[1:], axes[1:], strict=True):
        at = at * size + axis
    return np.asarray(at, np.int64)
