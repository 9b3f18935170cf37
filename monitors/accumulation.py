"""All state of one rollout's evidence that adds: cells, rates, bins, rows that wait for bins, counts. No judgement.

A part of the rows can be accumulated elsewhere: `whole.blank()` there, `add` the part of the tick, bring it home,
`whole.absorb(part)` for all parts in any order, then `whole.settle()` once. The state is bit by bit that of one
accumulation which saw all rows: sums are exact, bins are frozen and user-minutes counted only in `settle`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from monitors.accumulators import Cell
from monitors.bins import Frame
from monitors.entering import MANY, enter_scores, enter_sums
from monitors.groupings import P
from monitors.layouts import Place, Source, layouts
from monitors.rates import FailureCounts
from monitors.rows import Exposed, Scored, Tick
from monitors.shares import RATES, shares_of
from monitors.summands import Batch, columns_of
from serinus.evidence import Stream, WorkItem
from serinus.guards import Metric
from serinus.sla import Sla

RateKey = tuple[Metric, str, str]
"""Metric, task, slice."""
Waits = tuple[Stream, str, Source]
FrameKey = tuple[str, bool]
"""Task; True for what is frozen from labelled rows."""
Sides = tuple[list[Scored], list[Scored]]


@dataclass(slots=True)
class Accumulation:
    """`cells`, `rates`: accumulators; `bins`: and units, once frozen; `waiting`: rows that wait for them;
    `pending`: answers of this tick, whose user-minutes are counted when all are there; `recent`: counts of this tick,
    in `counts` after it; `holds`: what else stops the ramp at this tick."""

    item: WorkItem
    replay: bool = False
    cells: dict[Place, Cell] = field(default_factory=dict)
    rates: dict[RateKey, FailureCounts] = field(default_factory=dict)
    bins: dict[FrameKey, Frame] = field(default_factory=dict)
    waiting: dict[Waits, Sides] = field(default_factory=dict)
    pending: dict[str, list[Exposed]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    recent: Counter[str] = field(default_factory=Counter)
    corrupt: set[str] = field(default_factory=set)
    first_event_ms: int | None = None
    holds: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for place, layout in layouts(self.item, replay=self.replay).items():
            self.cells.setdefault(place, Cell.empty(layout))
        for share in shares_of(self.item, replay=self.replay):
            if share.spec.metric in RATES:
                self.rates.setdefault((share.spec.metric, share.spec.task, share.spec.slice), FailureCounts())

    def blank(self) -> Accumulation:
        """An empty one with the same bins: for a part of the next tick's rows, here or in another process."""
        return Accumulation(self.item, self.replay, bins=dict(self.bins))

    def add(self, tick: Tick) -> None:
        """Take in rows of one tick, all or a part of them. `settle` closes the tick."""
        self.recent += Counter(tick.counts)
        self.corrupt |= set(tick.corrupt)
        self.holds |= set(tick.holds)
        self._begin(tick.first_event_ms)
        sources: tuple[tuple[Source, dict[tuple[Stream, str], tuple[Scored, Scored]]], ...] = (
            ("mature", tick.streams),
            ("early", tick.early),
            ("unlabelled", tick.unlabelled),
        )
        for source, streams in sources:
            for (stream, task), sides in streams.items():
                self._count((stream, task, source), sides)
        for task, exposed in tick.exposed.items():
            if len(exposed.minute):
                self.pending.setdefault(task, []).append(exposed)

    def absorb(self, part: Accumulation) -> None:
        """Take in what `part` (made by `blank`, not settled) has seen."""
        for place, cell in part.cells.items():
            self.cells[place].absorb(cell)
        for key, counts in part.rates.items():
            if counts.exposure.any():
                self.rates[key] = self.rates[key].merge(counts)
        for waits, sides in part.waiting.items():
            for mine, theirs in zip(self.waiting.setdefault(waits, ([], [])), sides, strict=True):
                mine.extend(theirs)
            for _, cell in self._cells_of(waits):
                cell.changed = True
        for task, exposed in part.pending.items():
            self.pending.setdefault(task, []).extend(exposed)
        self.counts += part.counts
        self.recent += part.recent
        self.corrupt |= part.corrupt
        self.holds |= part.holds
        self._begin(part.first_event_ms)

    def merge(self, other: Accumulation) -> Accumulation:
        """Both together, as a new one. Of two that have bins, they must be the same."""
        merged = self.blank()
        merged.absorb(self)
        merged.absorb(other)
        return merged

    def settle(self) -> dict[str, int]:
        """The tick is whole: freeze bins, count what waited, count user-minutes. Returns the tick's counts."""
        for task in self.item.sla.tasks:
            self._freeze(task)
        self.enter()
        for task, parts in sorted(self.pending.items()):
            self._expose(task, _joined(parts))
        self.pending = {}
        for cell in self.cells.values():
            if cell.changed:
                cell.close()
        recent = dict(self.recent)
        self.counts += self.recent
        self.recent = Counter()
        return recent

    def enter(self) -> None:
        """Rows that wait for what is frozen already enter their tables. A part may do so before it is absorbed."""
        for waits in [waits for waits in self.waiting if _frame_key(waits) in self.bins]:
            self._enter(waits, self.waiting.pop(waits))

    def rows_waiting(self, waits: Waits) -> int:
        """Scores that wait for bins, of the side that has fewer."""
        return min(_rows(side) for side in self.waiting.get(waits, ([], [])))

    def _begin(self, event_ms: int | None) -> None:
        if event_ms is not None:
            self.first_event_ms = event_ms if self.first_event_ms is None else min(self.first_event_ms, event_ms)

    def _cells_of(self, waits: Waits) -> list[tuple[str, Cell]]:
        """Slice and cell of all that such rows enter."""
        stream, task, source = waits
        return [
            (place[2], cell) for place, cell in self.cells.items() if place[:2] + place[3:] == (stream, task, source)
        ]

    def _numbers(self, task: str) -> bool:
        return self.item.sla.tasks[task].kind == "regression"

    def _count(self, waits: Waits, sides: tuple[Scored, Scored]) -> None:
        """What needs nothing frozen is counted at once. Rows wait if something does, also when it is frozen already:
        they enter at the end of the tick, all together."""
        cells = self._cells_of(waits)
        if not cells or not any(len(rows) for rows in sides):
            return
        if not self._numbers(waits[1]):
            rows = Scored.concat([*sides])
            columns = columns_of(*sides, wanted=max(cell.layout.columns for _, cell in cells), rows=rows)
            _spread(self.item.sla, cells, Batch.of(*sides, columns, rows), Cell.add_sums)
            if not any(cell.layout.pooled for _, cell in cells):
                return
        for part, kept in zip(sides, self.waiting.setdefault(waits, ([], [])), strict=True):
            kept.append(part)
        for _, cell in cells:
            cell.changed = True  # also of a slice without a row here: it says how many wait

    def _freeze(self, task: str) -> None:
        """Freeze the task's bins when a stream has enough scores: one of labels, one of what needs none."""
        labelled: tuple[Source, ...] = ("mature", "early")
        unlabelled: tuple[Source, ...] = ("unlabelled",)
        for sources in (labelled, unlabelled):
            key = (task, sources is labelled)
            streams: tuple[Stream, ...] = ("replay", "shadow", "canary")
            candidates = [(stream, task, source) for source in sources for stream in streams]
            enough = [w for w in candidates if self.rows_waiting(w) >= self.item.sla.freeze_scores]
            if key in self.bins or not enough:
                continue
            a, b = (Scored.concat(side, len(self.item.sla.slices)) for side in self.waiting[enough[0]])
            numbers = self._numbers(task)
            y = np.concatenate([a.y, b.y])
            self.bins[key] = Frame.of_numbers(a.p, b.p, y) if numbers else Frame.of_probabilities(a.p, b.p)

    def _enter(self, waits: Waits, kept: Sides) -> None:
        """Put rows that waited into the tables that need what is frozen."""
        frame, cells = self.bins[_frame_key(waits)], self._cells_of(waits)
        a, b = (Scored.concat(side, len(self.item.sla.slices)) for side in kept)
        numbers = self._numbers(waits[1])
        wanted = max(cell.layout.columns for _, cell in cells) if numbers else P + 1  # else all that is left to add up
        rows, spread = Scored.concat([a, b]), frame.spread if numbers else 0.0
        columns = columns_of(a, b, unit=frame.unit, spread=spread, wanted=max(wanted, P + 1), rows=rows)
        second = frame.a if waits[2] == "unlabelled" else frame.b  # two distributions are compared in the same bins
        batch = Batch.of(a, b, columns, rows).with_bins(np.concatenate([frame.a.of(a.p), second.of(b.p)]))
        if numbers:
            _spread(self.item.sla, cells, batch, Cell.add_sums)
        _spread(self.item.sla, cells, batch, Cell.add_scores)

    def _expose(self, task: str, exposed: Exposed) -> None:
        for (metric, of_task, where), counts in self.rates.items():
            if of_task != task:
                continue
            inside = members(self.item.sla, where, exposed.slices, exposed.entity)
            chosen = np.ones(len(exposed.minute), np.bool_) if inside is None else inside
            bad = exposed.failed if metric == "failures" else slow_of(exposed)
            arms = [chosen & ~exposed.canary, chosen & exposed.canary]
            totals = [_user_minutes(exposed, arm) for arm in arms]
            found = [_user_minutes(exposed, arm & bad) for arm in arms]
            counts.add(np.array(totals, np.float64), np.array(found, np.float64))


def members(sla: Sla, where: str, slices: NDArray[np.int64], _entity: NDArray[np.uint64]) -> NDArray[np.bool_] | None:
    """Which rows belong to a slice; None: all."""
    if where == "overall":
        return None
    name, _, value = where.partition("=")
    lists = sla.slice_lists
    return np.asarray(slices[:, list(lists).index(name)] == lists[name].index(value))


def _spread(sla: Sla, cells: list[tuple[str, Cell]], batch: Batch, enter: Callable[[Cell, Batch], None]) -> None:
    """Let rows enter the cells of the slices that they belong to."""
    if len(batch) >= MANY:
        (enter_sums if enter is Cell.add_sums else enter_scores)(sla, cells, batch)
        return
    for where, cell in cells:
        inside = members(sla, where, batch.slices, batch.entity)
        enter(cell, batch if inside is None else batch.take(np.flatnonzero(inside)))


def _frame_key(waits: Waits) -> FrameKey:
    return waits[1], waits[2] != "unlabelled"


def _rows(parts: list[Scored]) -> int:
    return sum(len(rows) for rows in parts)


def slow_of(exposed: Exposed) -> NDArray[np.bool_]:
    """Which answers were over the time that they may take; none where nobody measured."""
    return exposed.slow if len(exposed.slow) else np.zeros(len(exposed.minute), np.bool_)


def _joined(parts: list[Exposed]) -> Exposed:
    """All answers of a tick."""
    if len(parts) == 1:
        return parts[0]
    columns = ("entity", "minute", "canary", "failed", "slices")
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in columns}
    return Exposed(**joined, slow=np.concatenate([slow_of(part) for part in parts]))


def _user_minutes(exposed: Exposed, which: NDArray[np.bool_]) -> int:
    if not which.any():
        return 0
    pairs = np.stack([exposed.entity[which], exposed.minute[which].astype(np.uint64)])
    return int(np.unique(pairs, axis=1).shape[1])
