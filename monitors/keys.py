"""Rows by their key (request id, index): numbered, and brought into an order that only their content gives. Pure.

Rows come in about the order of time, and nearly always once. So keys are sorted by what comes sorted, the first half of
the id, which costs little; only where that leaves a doubt are other columns compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Mask = NDArray[np.bool_]


def numbered(high: Hashes, low: Hashes, index: Ints) -> tuple[int, Ints]:
    """How many distinct keys there are, and the number of each row's, in rising order of (high, low, index)."""
    if not len(high):
        return 0, np.zeros(0, np.int64)
    begins = np.append(True, (high[1:] != high[:-1]) | (low[1:] != low[:-1]) | (index[1:] != index[:-1]))
    run = np.cumsum(begins) - 1  # a row's scores of several tasks follow each other
    at = np.flatnonzero(begins)
    keys, number = _numbered(high[at], low[at], index[at])
    return keys, number[run]


def _numbered(high: Hashes, low: Hashes, index: Ints) -> tuple[int, Ints]:
    order = np.argsort(high, kind="stable")
    h, rest = high[order], (low[order], index[order])
    same = h[1:] == h[:-1]
    apart = same & ((rest[0][1:] != rest[0][:-1]) | (rest[1][1:] != rest[1][:-1]))
    if apart.any():
        doubtful = np.flatnonzero(np.isin(h, h[1:][apart]))
        mine = order[doubtful]
        order[doubtful] = mine[np.lexsort((index[mine], low[mine], high[mine]))]
        rest = low[order], index[order]
        apart = same & ((rest[0][1:] != rest[0][:-1]) | (rest[1][1:] != rest[1][:-1]))
    number = np.empty(len(order), np.int64)
    number[order] = np.append(0, np.cumsum(~same | apart))
    return int(number[order[-1]]) + 1, number


def ordered(at: Ints, key: Ints, doubtful: Callable[[Ints], Mask], minor: Callable[[Ints], list[NDArray[Any]]]) -> Ints:
    """Rows `at` in order of their key; those of one key by the columns `minor(rows)` (as `lexsort` takes them) wherever
    it matters.

    `key`: of all rows. `doubtful(rows)`: of each of them but the first, whether it matters in which order it and the
    one before it come, should they have one key. With three and more of one key it always matters."""
    rows = at[np.argsort(key[at], kind="stable")]
    keys = key[rows]
    tied = keys[1:] == keys[:-1]
    if not tied.any():
        return rows
    doubt = doubtful(rows) & tied
    doubt[1:] |= tied[1:] & tied[:-1]
    if doubt.any():
        places = np.flatnonzero(np.isin(keys, keys[1:][doubt]))
        mine = rows[places]
        rows[places] = mine[np.lexsort((*minor(mine), key[mine]))]
    return rows


def matched(a: Ints, b: Ints, key: Ints, keys: int) -> tuple[Ints, Ints]:
    """Rows of both sides whose key is in both; each key at most once a side, in the order of `b`."""
    place = np.full(keys, -1, np.int64)
    place[key[a]] = a
    found = place[key[b]]
    both = found >= 0
    return found[both], b[both]


def first_of_each(count: int, key: Ints, order: Callable[[Ints], list[NDArray[Any]]]) -> Ints:
    """For each key the place in `key` of its first entry, -1 where it has none, shape (count,).

    `order(places)`: columns that decide which entry of several is the first, the first column most."""
    slot = np.full(count, -1, np.int64)
    slot[key] = np.arange(len(key))
    clash = slot[key] != np.arange(len(key))
    if clash.any():
        several = np.zeros(count, np.bool_)
        several[key[clash]] = True
        some = np.flatnonzero(several[key])
        some = some[np.lexsort((*reversed(order(some)), key[some]))]
        first = np.append(True, key[some][1:] != key[some][:-1])
        slot[key[some[first]]] = some[first]
    return slot
