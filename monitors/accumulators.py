"""All that is kept of one cell: pooled histograms and sums by group of users and by block of time.

Merging is having seen both; the empty cell is the identity. State is a flat dict of arrays.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from monitors.bins import BINS_GROUP, BINS_OVERALL, BINS_SLICE, coarser
from monitors.groupings import BLOCK_WIDTHS_MS, COLUMNS, Blocks, Counts, Users, concordant, longer, tally
from monitors.restarts import segments_of
from monitors.summands import USERS_OVERALL, USERS_SLICE, Batch

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
State = dict[str, NDArray[np.generic]]
T = TypeVar("T", bound=np.generic)

_NARROW = 1_000


@dataclass(frozen=True, slots=True)
class Layout:
    """Sizes of a cell's tables. `columns`: the first ones of the sums; `bins`: of the groups, `pooled`: of everybody
    together, 0 where no histogram is kept; `curve`: sums of p by pooled bin are kept too; `boundaries`: restarts."""

    users: int = USERS_OVERALL
    columns: int = COLUMNS
    bins: int = BINS_GROUP
    pooled: int = BINS_OVERALL
    curve: bool = False
    boundaries: tuple[int, ...] = ()

    @classmethod
    def of(cls, *, overall: bool) -> Layout:
        return cls() if overall else cls(users=USERS_SLICE, pooled=BINS_SLICE)


@dataclass(slots=True)
class Cell:
    """`pooled`: counts, shape (S, 2, 2, K), segment x side x label x bin, of rows whose scores had frozen bins;
    `curve`: sums of p, shape (2, K); `users`, `times`: the groups."""

    layout: Layout
    pooled: Counts
    curve: Floats
    users: Users
    times: list[Blocks]
    changed: bool = field(default=True, compare=False)

    @classmethod
    def empty(cls, layout: Layout | None = None, *, overall: bool = True) -> Self:
        size = layout or Layout.of(overall=overall)
        by_user = Users.empty(size.users, size.columns, size.bins)
        by_time = [Blocks.empty(width, size.columns, size.bins) for width in BLOCK_WIDTHS_MS]
        curve = np.zeros((2, size.pooled if size.curve else 0))
        return cls(size, np.zeros((1, 2, 2, size.pooled), np.uint32), curve, by_user, by_time)

    @property
    def sums(self) -> Floats:
        """Of all rows, shape (2, C)."""
        return np.asarray(self.users.sums.sum(axis=(0, 3)))

    @property
    def empty_handed(self) -> bool:
        """Whether it has seen nothing."""
        return not self.users.sums.any() and not self.pooled.any()

    def add_sums(self, batch: Batch) -> None:
        """Count rows in everything that needs no bins."""
        if not len(batch):
            return
        self.changed = True
        columns = batch.columns[: self.layout.columns]
        for segment, which in self._segments(batch):
            self._hold(segment + 1)
            user = batch.user[which] % self.users.groups
            self.users.add_sums(segment, user, batch.side[which], columns[:, which])
        fine, place = _fine_blocks(batch.event_ms)
        flat = batch.side * len(fine) + place
        sums = [np.bincount(flat, column, minlength=2 * len(fine)).reshape(2, -1) for column in columns]
        for blocks in self.times:
            blocks.add_sums(fine, np.stack(sums, axis=1))

    def add_scores(self, batch: Batch) -> None:
        """Count the same rows in the histograms, once."""
        if not len(batch):
            return
        self.changed = True
        side_label, size = 2 * batch.side + batch.label, self.layout
        bins, places = (coarser(batch.bins, count) if count else batch.bins for count in (size.bins, size.pooled))
        for segment, which in self._segments(batch):
            self._hold(segment + 1)
            if size.pooled:
                tally(self.pooled[segment], side_label[which] * size.pooled + places[which])
            if size.bins:
                user = batch.user[which] % self.users.groups
                self.users.add_scores(segment, user, side_label[which], bins[which])
        if size.curve:
            flat = batch.side * size.pooled + places
            self.curve += np.bincount(flat, batch.columns[2], minlength=2 * size.pooled).reshape(2, -1)
        if size.bins:
            fine, place = _fine_blocks(batch.event_ms)
            flat = (side_label * len(fine) + place) * size.bins + bins
            hist = np.bincount(flat, minlength=4 * len(fine) * size.bins).reshape(2, 2, len(fine), size.bins)
            for blocks in self.times:
                blocks.add_scores(fine, hist)

    def open(self, segment: int) -> None:
        """Something enters the tables of a segment."""
        self.changed = True
        self._hold(segment + 1)

    def close(self) -> None:
        """The end of a tick."""
        for blocks in self.times:
            blocks.close()

    def absorb(self, other: Cell) -> None:
        """As if this one had seen what the other saw."""
        if other.empty_handed:
            return
        self._hold(len(other.pooled))
        self.pooled[: len(other.pooled)] += other.pooled
        self.curve += other.curve
        self.users.absorb(other.users)
        for mine, theirs in zip(self.times, other.times, strict=True):
            mine.absorb(theirs)
        self.changed = True

    def merge(self, other: Cell) -> Cell:
        """Both, as a new one."""
        merged = Cell.empty(self.layout)
        merged.absorb(self)
        merged.absorb(other)
        merged.close()
        return merged

    def state(self) -> State:
        arrays: State = {"pooled": self.pooled, "curve": self.curve, "sums": self.users.sums, "hist": self.users.hist}
        for at, blocks in enumerate(self.times):
            for name in ("keys", "sums", "hist"):
                arrays[f"{at}/{name}"] = getattr(blocks, name)
            arrays[f"{at}/dropped"] = np.array(blocks.dropped)
        return arrays

    @classmethod
    def of_state(cls, state: State, layout: Layout) -> Self:
        """Raises KeyError or ValueError when the arrays are not of this layout."""
        cell = cls.empty(layout)
        segments = len(state["pooled"])
        cell.pooled = _like(state["pooled"], cell.pooled, 0)
        cell.curve = _like(state["curve"], cell.curve)
        cell.users = Users(_like(state["sums"], cell.users.sums, 0), _like(state["hist"], cell.users.hist, 0))
        if not 1 <= segments == len(cell.users.sums) == len(cell.users.hist) <= len(layout.boundaries) + 1:
            raise ValueError("a cell's tables have unequal numbers of segments")
        for at, blocks in enumerate(cell.times):
            blocks.keys = _like(state[f"{at}/keys"], blocks.keys, 0)
            blocks.sums = _like(state[f"{at}/sums"], blocks.sums, 2)
            blocks.hist = _like(state[f"{at}/hist"], blocks.hist, 2)
            if not len(blocks.keys) == blocks.sums.shape[2] == blocks.hist.shape[2]:
                raise ValueError("a cell's blocks have unequal numbers of keys")
            blocks.dropped = bool(state[f"{at}/dropped"])
            blocks.own = concordant_or_none(blocks)
        return cell

    def _hold(self, segments: int) -> None:
        if segments > len(self.pooled):
            self.pooled = longer(self.pooled, segments)
        self.users.hold(segments)

    def _segments(self, batch: Batch) -> list[tuple[int, NDArray[np.bool_] | slice]]:
        """The segments that rows are in, and which rows."""
        edges = self.layout.boundaries
        first, last = segments_of(np.array([batch.event_ms.min(), batch.event_ms.max()]), edges)
        if first == last:
            return [(int(first), slice(None))]
        segment = segments_of(batch.event_ms, edges)
        return [(int(each), segment == each) for each in np.unique(segment)]


def concordant_or_none(blocks: Blocks) -> Floats:
    """Concordant pairs within each block; 0 where no histogram is kept."""
    return concordant(blocks.hist) if blocks.hist.shape[3] else np.zeros((2, len(blocks.keys)))


def _fine_blocks(event_ms: Ints) -> tuple[Ints, Ints]:
    """Keys of the finest blocks, rising, and each row's place among them."""
    keys = event_ms // BLOCK_WIDTHS_MS[0]
    first, last = int(keys.min()), int(keys.max())
    if last - first >= _NARROW:
        fine, place = np.unique(keys, return_inverse=True)
        return fine, place.astype(np.int64)
    there = np.bincount(keys - first, minlength=last - first + 1) > 0
    return np.flatnonzero(there) + first, (np.cumsum(there) - 1)[keys - first]


def _like(array: NDArray[np.generic], model: NDArray[T], free: int | None = None) -> NDArray[T]:
    """The array, if it has the model's type and, but for one axis, its shape."""
    shapes = [tuple(n for at, n in enumerate(each.shape) if at != free) for each in (array, model)]
    if array.dtype != model.dtype or array.ndim != model.ndim or shapes[0] != shapes[1]:
        raise ValueError(f"{array.dtype} of shape {array.shape} where {model.dtype} of {model.shape} belongs")
    return array.astype(model.dtype)
