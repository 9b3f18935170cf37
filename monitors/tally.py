"""What many rows add to the cells of many slices, in one pass. Pure.

The cells of one slice column (one for each value; everybody is a column of one value) share their rows, so each row's
number in a block of all their arrays is one sum of products, and `bincount` adds all rows at once: a few ns a row,
however many slices there are, where a mask for each slice costs a pass for each slice. Users and blocks of time are
counted together as long as a tick has few blocks, and summed apart afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_JOINT = 4
"""So many blocks of time are counted together with the users."""


@dataclass(frozen=True, slots=True)
class Lots:
    """Rows of one stream and task, all of shape (n,): `side` (0, 1), `user`: group of the user, `block`: place of the
    block of time among `blocks`."""

    side: Ints
    user: Ints
    users: int
    block: Ints
    blocks: Ints

    @classmethod
    def of(cls, side: Ints, user: Ints, users: int, block: Ints) -> Lots:
        """`block`: number of each row's block of time."""
        if not len(block):
            return cls(side, user, users, block, block)
        first = int(block.min())
        if int(block.max()) - first > max(1024, len(block)):
            blocks, place = np.unique(block, return_inverse=True)
            return cls(side, user, users, place.astype(np.int64), blocks)
        blocks = np.flatnonzero(np.bincount(block - first))
        place = np.zeros(int(blocks[-1]) + 1, np.int64)
        place[blocks] = np.arange(len(blocks))
        return cls(side, user, users, place[block - first], blocks + first)

    def grouped(self, users: int) -> Lots:
        """The same with fewer groups of users, a divisor of those that there are."""
        return self if users == self.users else replace(self, user=self.user % users, users=users)

    def sums(self, slot: Ints, slots: int, columns: Floats) -> tuple[Floats, Floats]:
        """Sums of columns by slot, side and user, shape (slots, 2, c, users), and by block, (slots, 2, c, blocks).

        `slot`: of each row, -1: none; `columns`: shape (n, c)."""
        joint, groups = self._joint()
        parts: list[Floats] = []
        for group, count in groups:
            at = ((slot + 1) * 2 + self.side) * count + group
            size = (slots + 1) * 2 * count
            found = [np.bincount(at, column, size).reshape(slots + 1, 2, count) for column in columns.T]
            parts.append(np.stack(found, axis=2)[1:].astype(np.float64))
        return self._apart(parts, joint, 3)

    def counts(self, slot: Ints, slots: int, label: Ints, bins: Ints, width: int) -> tuple[Floats, Floats]:
        """Counts of rows by slot, side, label (0, 1), user and bin (of `width`), shape (slots, 2, 2, users, width), and
        the same by block, (slots, 2, 2, blocks, width)."""
        joint, groups = self._joint()
        parts = []
        for group, count in groups:
            at = ((((slot + 1) * 2 + self.side) * 2 + label) * count + group) * width + bins
            found = np.bincount(at, minlength=(slots + 1) * 4 * count * width)
            parts.append(found.reshape(slots + 1, 2, 2, count, width)[1:].astype(np.float64))
        return self._apart(parts, joint, 3)

    def _joint(self) -> tuple[bool, list[tuple[Ints, int]]]:
        count = len(self.blocks)
        if count <= _JOINT:
            return True, [(self.block * self.users + self.user if count > 1 else self.user, count * self.users)]
        return False, [(self.user, self.users), (self.block, count)]

    def _apart(self, parts: list[Floats], joint: bool, axis: int) -> tuple[Floats, Floats]:
        """By user and by block, of an array that has both as one axis."""
        if not joint:
            return parts[0], parts[1]
        shape = parts[0].shape
        both = parts[0].reshape(*shape[:axis], len(self.blocks), self.users, *shape[axis + 1 :])
        return both.sum(axis=axis), both.sum(axis=axis + 1)


def coarser_blocks(keys: Ints, values: Floats, ratio: int, axis: int) -> tuple[Ints, Floats]:
    """Blocks of `ratio` times the width, and the sums of what lies in them along an axis. `keys`: rising, not empty."""
    wide, first = np.unique(keys // ratio, return_index=True)
    return wide, np.add.reduceat(values, first, axis=axis)


def folded(counts: Floats, width: int) -> Floats:
    """The last axis (bins) joined to `width` bins."""
    return np.asarray(counts.reshape(*counts.shape[:-1], width, -1).sum(axis=-1))
