"""Many rows into the cells of all slices at once: bit for bit what `Cell.add_sums` and `Cell.add_scores` do one by one.

A row is counted once a slice column (and once for everybody), not once a cell, and no row is copied; see `tally`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitors.accumulators import Cell
from monitors.bins import coarser
from monitors.groupings import BLOCK_WIDTHS_MS, N, P
from monitors.restarts import segments_of
from monitors.summands import USERS_OVERALL, Batch
from monitors.tally import Lots, folded
from serinus.sla import Sla

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MANY = 4_096
"""From so many rows on it is worth it: its cost does not fall below that of the cells' own arrays."""


@dataclass(frozen=True, slots=True)
class _Column:
    """Cells whose rows one number a row tells apart: `slot` is the place of a row's cell in `cells`, -1: none of them;
    `segment`: of event time, that all the rows are in. `batch`, `lots`: the rows."""

    cells: list[Cell]
    slot: Ints
    segment: int
    batch: Batch
    lots: Lots


def enter_sums(sla: Sla, cells: Iterable[tuple[str, Cell]], batch: Batch) -> None:
    """`Cell.add_sums` for all cells, each with the rows of its slice. `cells`: with the names of their slices."""
    for column in _columns(sla, cells, batch):
        users = max(cell.users.groups for cell in column.cells)
        wide = max(cell.layout.columns for cell in column.cells)
        lots = column.lots.grouped(users)
        by_user, by_block = lots.sums(column.slot, len(column.cells), column.batch.columns[:wide].T)
        for at, cell in enumerate(column.cells):
            held = by_block[at, :, N].any(axis=0)
            if not held.any():
                continue
            cell.open(column.segment)
            count, groups = cell.layout.columns, cell.users.groups
            cell.users.sums[column.segment] += by_user[at, :, :count].reshape(2, count, -1, groups).sum(axis=2)
            for blocks in cell.times:
                blocks.add_sums(lots.blocks[held], by_block[at, :, :count][..., held])


def enter_scores(sla: Sla, cells: Iterable[tuple[str, Cell]], batch: Batch) -> None:
    """`Cell.add_scores` for all cells, each with the rows of its slice."""
    for column in _columns(sla, cells, batch):
        users = max(cell.users.groups for cell in column.cells)
        width = max(max(cell.layout.bins, cell.layout.pooled) for cell in column.cells) or 1
        bins = coarser(column.batch.bins, width)
        lots, slots = column.lots.grouped(users), len(column.cells)
        by_user, by_block = lots.counts(column.slot, slots, column.batch.label, bins, width)
        curve = _curve(column, bins, width) if any(cell.layout.curve for cell in column.cells) else None
        for at, cell in enumerate(column.cells):
            held = by_block[at].any(axis=(0, 1, 3))
            if not held.any():
                continue
            cell.open(column.segment)
            layout, groups = cell.layout, cell.users.groups
            if layout.pooled:
                cell.pooled[column.segment] += folded(by_block[at].sum(axis=2), layout.pooled).astype(np.uint32)
            if layout.curve and curve is not None:
                cell.curve += folded(curve[at], layout.pooled)
            if layout.bins:
                hist = folded(by_user[at].reshape(2, 2, -1, groups, width).sum(axis=2), layout.bins)
                cell.users.hist[column.segment] += hist.astype(np.uint32)
                by_time = folded(by_block[at][:, :, held], layout.bins).astype(np.int64)
                for blocks in cell.times:
                    blocks.add_scores(lots.blocks[held], by_time)


def _columns(sla: Sla, cells: Iterable[tuple[str, Cell]], batch: Batch) -> Iterator[_Column]:
    """Cells by slice column and restarts, and rows by segment. What no row is in is left out."""
    lists = sla.slice_lists
    names = list(lists)
    found: dict[tuple[int, tuple[int, ...]], list[tuple[int, Cell]]] = {}
    for where, cell in cells:
        name, _, value = where.partition("=")
        column, at = (-1, 0) if where == "overall" else (names.index(name), lists[name].index(value))
        found.setdefault((column, cell.layout.boundaries), []).append((at, cell))
    parts: dict[tuple[int, ...], list[tuple[int, Batch, Lots]]] = {}
    for (column, boundaries), placed in found.items():
        last = max(at for at, _ in placed)
        slot_of = np.full(last + 2, -1, np.int64)  # its last entry: of place -1, and of all others
        slot_of[[at for at, _ in placed]] = np.arange(len(placed))
        if boundaries not in parts:
            parts[boundaries] = [(segment, part, _lots(part)) for segment, part in _segments(batch, boundaries)]
        for segment, part, lots in parts[boundaries]:
            place = np.zeros(len(part), np.int64) if column < 0 else part.slices[:, column]
            slot = slot_of[np.minimum(place, len(slot_of) - 1)]
            yield _Column([cell for _, cell in placed], slot, segment, part, lots)


def _lots(rows: Batch) -> Lots:
    return Lots.of(rows.side, rows.user, USERS_OVERALL, rows.event_ms // BLOCK_WIDTHS_MS[0])


def _segments(batch: Batch, boundaries: tuple[int, ...]) -> list[tuple[int, Batch]]:
    first, last = segments_of(np.array([batch.event_ms.min(), batch.event_ms.max()]), boundaries)
    if first == last:
        return [(int(first), batch)]
    segment = segments_of(batch.event_ms, boundaries)
    return [(int(each), batch.take(segment == each)) for each in np.unique(segment)]


def _curve(column: _Column, bins: Ints, width: int) -> Floats:
    """Sums of p by cell, side and bin, shape (cells, 2, width)."""
    slots = len(column.cells) + 1
    flat = ((column.slot + 1) * 2 + column.batch.side) * width + bins
    found = np.bincount(flat, column.batch.columns[P], minlength=slots * 2 * width)
    return np.asarray(found.reshape(slots, 2, width)[1:])
