"""All state of one rollout's evidence that adds: cells, rates, bins, rows that wait for bins, counts. No judgement.

A part of the rows can be accumulated elsewhere: `whole.blank()` there, `add` the part of the tick, bring it home,
`whole.absorb(part)` for all parts in any order, then `whole.settle()` once. The state is bit by bit that of one
accumulation which saw all rows: sums are exact, bins are frozen and user-minutes counted only in `settle`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitors.accumulators import Cell, State, columns_of
from monitors.bins import Bins
from monitors.rates import FailureCounts
from monitors.rows import Exposed, Scored, Tick
from monitors.shares import shares_of
from serinus.evidence import Stream, WorkItem

Place = tuple[Stream, str, str]
"""Stream, task, slice."""
Sides = tuple[list[Scored], list[Scored]]
_SCORED = ("event_ms", "entity", "y", "p", "slices")
_EXPOSED = ("entity", "minute", "canary", "failed", "slices")


class Header(msgspec.Struct, frozen=True):
    """What of an accumulation is not an array: keys in the order of their arrays, and counts."""

    cells: list[Place]
    failures: list[tuple[str, str]]
    bins: list[str]
    waiting: list[tuple[Stream, str]]
    pending: list[str]
    counts: dict[str, int]
    recent: dict[str, int]
    corrupt: list[str]
    first_event_ms: int | None


@dataclass(slots=True)
class Accumulation:
    """`cells`, `failures`: accumulators; `bins`: task -> bins of baseline and candidate, once frozen; `waiting`: rows
    whose scores wait for bins; `pending`: answers of this tick, whose user-minutes are counted when all are there;
    `recent`: counts of this tick, in `counts` after it."""

    item: WorkItem
    replay: bool = False
    cells: dict[Place, Cell] = field(default_factory=dict)
    failures: dict[tuple[str, str], FailureCounts] = field(default_factory=dict)
    bins: dict[str, tuple[Bins, Bins]] = field(default_factory=dict)
    waiting: dict[tuple[Stream, str], Sides] = field(default_factory=dict)
    pending: dict[str, list[Exposed]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    recent: Counter[str] = field(default_factory=Counter)
    corrupt: set[str] = field(default_factory=set)
    first_event_ms: int | None = None

    def __post_init__(self) -> None:
        for share in shares_of(self.item, replay=self.replay):
            spec = share.spec
            if spec.metric in ("failures", "latency"):
                self.failures.setdefault((spec.task, spec.slice), FailureCounts())
            else:
                place = (share.stream, spec.task, spec.slice)
                if place not in self.cells:
                    self.cells[place] = Cell.empty(overall=spec.slice == "overall")

    def blank(self) -> Accumulation:
        """An empty one with the same bins: for a part of the next tick's rows, here or in another process."""
        return Accumulation(self.item, self.replay, bins=dict(self.bins))

    def add(self, tick: Tick) -> None:
        """Take in rows of one tick, all or a part of them. `settle` closes the tick."""
        self.recent += Counter(tick.counts)
        self.corrupt |= set(tick.corrupt)
        self._begin(tick.first_event_ms)
        for (stream, task), sides in tick.streams.items():
            self._count(stream, task, sides)
        for task, exposed in tick.exposed.items():
            if len(exposed.minute):
                self.pending.setdefault(task, []).append(exposed)

    def absorb(self, part: Accumulation) -> None:
        """Take in what `part` (made by `blank`, not settled) has seen."""
        for place, cell in part.cells.items():
            self.cells[place] = self.cells[place].merge(cell)
        for key, counts in part.failures.items():
            if counts.exposure.any():
                self.failures[key] = self.failures[key].merge(counts)
        for waits, sides in part.waiting.items():
            for mine, theirs in zip(self.waiting.setdefault(waits, ([], [])), sides, strict=True):
                mine.extend(theirs)
        for task, exposed in part.pending.items():
            self.pending.setdefault(task, []).extend(exposed)
        self.counts += part.counts
        self.recent += part.recent
        self.corrupt |= part.corrupt
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
            self._score(task)
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

    def rows_waiting(self, stream: Stream, task: str) -> int:
        """Scores that wait for bins, of the side that has fewer."""
        return min(_rows(side) for side in self.waiting.get((stream, task), ([], [])))

    def state(self) -> State:
        """Arrays and a JSON header: everything, in an order that only the content gives."""
        header = Header(
            cells=sorted(self.cells),
            failures=sorted(self.failures),
            bins=sorted(self.bins),
            waiting=sorted(self.waiting),
            pending=sorted(self.pending),
            counts=dict(sorted(self.counts.items())),
            recent=dict(sorted(self.recent.items())),
            corrupt=sorted(self.corrupt),
            first_event_ms=self.first_event_ms,
        )
        arrays: State = {"header": np.frombuffer(msgspec.json.encode(header), np.uint8)}
        for at, place in enumerate(header.cells):
            arrays |= {f"cell/{at}/{name}": array for name, array in self.cells[place].state().items()}
        for at, key in enumerate(header.failures):
            counts = self.failures[key]
            arrays[f"failures/{at}/segments"] = counts.segments
            arrays[f"failures/{at}/totals"] = np.stack([counts.exposure, counts.failures])
        for at, task in enumerate(header.bins):
            arrays[f"bins/{at}"] = np.stack([bins.edges for bins in self.bins[task]])
        slices = len(self.item.sla.slices)
        for at, waits in enumerate(header.waiting):
            for side, parts in enumerate(self.waiting[waits]):
                rows = _ordered(Scored.concat(parts, slices))
                arrays |= {f"waiting/{at}/{side}/{name}": getattr(rows, name) for name in _SCORED}
        for at, task in enumerate(header.pending):
            exposed = _joined(self.pending[task])
            arrays |= {f"pending/{at}/{name}": getattr(exposed, name) for name in _EXPOSED}
        return arrays

    @classmethod
    def of_state(cls, item: WorkItem, arrays: State, *, replay: bool = False) -> Self:
        """The accumulation whose `state` it is. Raises KeyError or ValueError when it is damaged."""
        header = msgspec.json.decode(arrays["header"].tobytes(), type=Header)
        made, slices = cls(item, replay), len(item.sla.slices)
        for at, place in enumerate(header.cells):
            made.cells[place] = Cell.of_state(under(arrays, f"cell/{at}/"))
        for at, key in enumerate(header.failures):
            totals = arrays[f"failures/{at}/totals"].astype(np.float64)
            segments = arrays[f"failures/{at}/segments"].astype(np.float64)
            made.failures[key] = FailureCounts(segments, totals[0], totals[1])
        for at, task in enumerate(header.bins):
            a, b = (Bins(edges) for edges in arrays[f"bins/{at}"].astype(np.float64))
            made.bins[task] = (a, b)
        for at, waits in enumerate(header.waiting):
            sides = [_scored_of(under(arrays, f"waiting/{at}/{side}/"), slices) for side in (0, 1)]
            made.waiting[waits] = ([sides[0]], [sides[1]])
        for at, task in enumerate(header.pending):
            made.pending[task] = [_exposed_of(under(arrays, f"pending/{at}/"), slices)]
        made.counts, made.recent, made.corrupt = Counter(header.counts), Counter(header.recent), set(header.corrupt)
        made.first_event_ms = header.first_event_ms
        return made

    def _begin(self, event_ms: int | None) -> None:
        if event_ms is not None:
            self.first_event_ms = event_ms if self.first_event_ms is None else min(self.first_event_ms, event_ms)

    def _places(self, stream: Stream, task: str) -> list[tuple[Place, Cell]]:
        return [(place, cell) for place, cell in self.cells.items() if place[:2] == (stream, task)]

    def _count(self, stream: Stream, task: str, sides: tuple[Scored, Scored]) -> None:
        places = self._places(stream, task)
        if not places or not any(len(rows) for rows in sides):
            return
        rows, side = _both(sides)
        columns = columns_of(rows)
        for place, cell in places:
            inside = self._inside(place[2], rows.slices)
            if inside is None:
                cell.add_sums(rows, side, columns)
            else:
                cell.add_sums(rows.take(inside), side[inside], columns[inside])
        waiting = self.waiting.setdefault((stream, task), ([], []))
        for part, kept in zip(sides, waiting, strict=True):
            kept.append(part)

    def _score(self, task: str) -> None:
        """Freeze the task's bins when a stream has enough scores; put what waited into the histograms."""
        streams: tuple[Stream, ...] = ("replay", "shadow", "canary")
        held = {stream: self.waiting.get((stream, task)) for stream in streams}
        if task not in self.bins:
            wanted = self.item.sla.freeze_scores
            enough = [kept for kept in held.values() if kept and min(_rows(side) for side in kept) >= wanted]
            if not enough:
                return
            a, b = (Bins.freeze(np.concatenate([rows.p for rows in side])) for side in enough[0])
            self.bins[task] = (a, b)
        for stream, kept in held.items():
            if kept is None:
                continue
            del self.waiting[stream, task]
            slices = len(self.item.sla.slices)
            rows, side = _both((Scored.concat(kept[0], slices), Scored.concat(kept[1], slices)))
            where = np.where(side, *(bins.of(rows.p) for bins in reversed(self.bins[task])))
            for place, cell in self._places(stream, task):
                inside = self._inside(place[2], rows.slices)
                if inside is None:
                    cell.add_scores(rows, side, where)
                else:
                    cell.add_scores(rows.take(inside), side[inside], where[inside])

    def _expose(self, task: str, exposed: Exposed) -> None:
        for (of_task, where), counts in self.failures.items():
            if of_task != task:
                continue
            inside = self._inside(where, exposed.slices)
            chosen = np.ones(len(exposed.minute), np.bool_) if inside is None else inside
            arms = [chosen & ~exposed.canary, chosen & exposed.canary]
            totals = [_user_minutes(exposed, arm) for arm in arms]
            failed = [_user_minutes(exposed, arm & exposed.failed) for arm in arms]
            counts.add(np.array(totals, np.float64), np.array(failed, np.float64))

    def _inside(self, where: str, slices: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """Which rows belong to a slice; None: all."""
        if where == "overall":
            return None
        name, _, value = where.partition("=")
        lists = self.item.sla.slice_lists
        return np.asarray(slices[:, list(lists).index(name)] == lists[name].index(value))


def under(arrays: State, prefix: str) -> State:
    """The arrays whose names begin so, without that beginning."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _both(sides: tuple[Scored, Scored]) -> tuple[Scored, NDArray[np.int64]]:
    """The rows of both sides, and the side of each."""
    return Scored.concat(list(sides)), np.repeat(np.arange(2), [len(rows) for rows in sides])


def _rows(parts: list[Scored]) -> int:
    return sum(len(rows) for rows in parts)


def _ordered(rows: Scored) -> Scored:
    return rows.take(np.lexsort((*rows.slices.T, rows.p, rows.y, rows.entity, rows.event_ms)))


def _joined(parts: list[Exposed]) -> Exposed:
    """All answers once, in an order that only their content gives."""
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _EXPOSED}
    keys = [columns[name] for name in _EXPOSED[:-1]]
    order = np.lexsort((*columns["slices"].T, *reversed(keys)))
    return Exposed(**{name: values[order] for name, values in columns.items()})


def _user_minutes(exposed: Exposed, which: NDArray[np.bool_]) -> int:
    if not which.any():
        return 0
    pairs = np.stack([exposed.entity[which], exposed.minute[which].astype(np.uint64)])
    return int(np.unique(pairs, axis=1).shape[1])


def _scored_of(columns: State, slices: int) -> Scored:
    return Scored(
        columns["event_ms"].astype(np.int64),
        columns["entity"].astype(np.uint64),
        columns["y"].astype(np.float64),
        columns["p"].astype(np.float64),
        columns["slices"].astype(np.int64).reshape(-1, slices),
    )


def _exposed_of(columns: State, slices: int) -> Exposed:
    return Exposed(
        columns["entity"].astype(np.uint64),
        columns["minute"].astype(np.int64),
        columns["canary"].astype(np.bool_),
        columns["failed"].astype(np.bool_),
        columns["slices"].astype(np.int64).reshape(-1, slices),
    )
