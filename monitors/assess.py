"""One rollout's evidence: ticks in, `Evidence` out. No I/O, no clock, no randomness.

Method 1: without restarts (a regression that begins late is seen late), without early labels, without input checks.
AUC needs frozen bins, so it is silent until `freeze_scores` scores were seen; sums of calibration and log-loss are not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from monitors.accumulators import Cell, columns_of
from monitors.bins import Bins
from monitors.judgement import judge
from monitors.metrics import Reading, auc_difference, calibration, log_loss, missing
from monitors.rates import FailureCounts
from monitors.rows import Exposed, Scored, Tick
from monitors.verdicts import (
    Latch,
    Share,
    cell_of_failures,
    cell_of_reading,
    cell_waiting,
    margin_of,
    unproven,
    verdict_of,
)
from serinus.evidence import CellEvidence, Evidence, Stream, WorkItem
from serinus.sla import CellSpec

Place = tuple[Stream, str, str]
"""Stream, task, slice."""
READINGS = {"auc": auc_difference, "calibration": calibration, "log_loss": log_loss}


@dataclass(slots=True)
class Assessor:
    """`cells`, `failures`: accumulators; `bins`: task -> bins of baseline and candidate, once frozen;
    `waiting`: rows whose scores wait for bins; `latch`: what was once violated."""

    item: WorkItem
    cells: dict[Place, Cell] = field(default_factory=dict)
    failures: dict[tuple[str, str], FailureCounts] = field(default_factory=dict)
    bins: dict[str, tuple[Bins, Bins]] = field(default_factory=dict)
    waiting: dict[tuple[Stream, str], tuple[list[Scored], list[Scored]]] = field(default_factory=dict)
    latch: Latch = field(default_factory=Latch)
    counts: Counter[str] = field(default_factory=Counter)
    corrupt: set[str] = field(default_factory=set)
    first_event_ms: int | None = None
    last_tick_ms: int | None = None
    shares: tuple[Share, ...] = ()
    _shown: dict[int, CellEvidence] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shares = shares_of(self.item)
        for share in self.shares:
            spec = share.spec
            if spec.metric == "failures":
                self.failures.setdefault((spec.task, spec.slice), FailureCounts())
            else:
                place = (share.stream, spec.task, spec.slice)
                if place not in self.cells:
                    self.cells[place] = Cell.empty(overall=spec.slice == "overall")

    @property
    def limit(self) -> float:
        return 1 / self.item.alpha

    def consume(self, tick: Tick) -> Evidence:
        """Take in one tick, after all earlier ones, and say what is known then.

        Raises ValueError at a tick that is not later than the last one."""
        if self.last_tick_ms is not None and tick.tick_ms <= self.last_tick_ms:
            raise ValueError(f"tick {tick.tick_ms} does not follow tick {self.last_tick_ms}")
        self.last_tick_ms = tick.tick_ms
        self.counts += Counter(tick.counts)
        self.corrupt |= set(tick.corrupt)
        if tick.first_event_ms is not None:
            self.first_event_ms = min(self.first_event_ms or tick.first_event_ms, tick.first_event_ms)
        for (stream, task), sides in tick.streams.items():
            self._count(stream, task, sides)
        for task in self.item.sla.tasks:
            self._score(task)
        for task, exposed in tick.exposed.items():
            self._expose(task, exposed)
        for cell in self.cells.values():
            if cell.changed:
                cell.close()
        return self._evidence(tick.tick_ms, tick.counts)

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
        streams: tuple[Stream, Stream] = ("shadow", "canary")
        held = {stream: self.waiting.get((stream, task)) for stream in streams}
        if task not in self.bins:
            wanted = self.item.sla.freeze_scores
            enough = [kept for kept in held.values() if kept and min(self._rows(side) for side in kept) >= wanted]
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
            if of_task != task or not len(exposed.minute):
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
        lists = self.item.sla.slices
        return np.asarray(slices[:, list(lists).index(name)] == lists[name].index(value))

    def _rows(self, parts: list[Scored]) -> int:
        return sum(len(rows) for rows in parts)

    def _evidence(self, tick_ms: int, now: Mapping[str, int]) -> Evidence:
        """`now`: counts of this tick. Losses are looked at in it, and in all ticks together."""
        self._look()
        cells = tuple(self._shown[at] for at in range(len(self.shares)))
        total, cells = self.latch.update(self.shares, cells, self.limit)
        cells = unproven(cells, *((of.get("answers", 0), of.get("answers_lost", 0)) for of in (now, self.counts)))
        counts = {**self.counts, "corrupt_logs": len(self.corrupt)}
        return Evidence(
            rollout=self.item.rollout,
            model=self.item.model,
            baseline=self.item.baseline,
            candidate=self.item.candidate,
            tick_ms=tick_ms,
            watermark_ms=tick_ms,
            first_event_ms=self.first_event_ms,
            e=total,
            limit=self.limit,
            verdict=verdict_of(self.latch, cells),
            culprits=tuple(self.latch.culprits),
            cells=cells,
            counts=dict(sorted(counts.items())),
        )

    def _look(self) -> None:
        """Evaluate the cells whose data changed, all at once."""
        readings: list[tuple[int, Cell, Reading]] = []
        for at, share in enumerate(self.shares):
            spec = share.spec
            if spec.metric == "failures":
                counted = self.failures[spec.task, spec.slice]
                if counted.changed or at not in self._shown:
                    self._shown[at] = cell_of_failures(share, counted, self.item.alpha)
                continue
            cell = self.cells[share.stream, spec.task, spec.slice]
            if not cell.changed and at in self._shown:
                continue
            if why := missing(cell) or self._unfrozen(share.stream, spec):
                self._shown[at] = cell_waiting(share, cell, why)
            else:
                readings.append((at, cell, READINGS[spec.metric](cell)))
        margins = [margin_of(self.shares[at].spec) for at, _, _ in readings]
        pairs = [(reading, margin) for (_, _, reading), margin in zip(readings, margins, strict=True)]
        for (at, cell, reading), judged in zip(readings, judge(pairs, self.item.alpha), strict=True):
            self._shown[at] = cell_of_reading(self.shares[at], cell, reading, judged)
        for cell in self.cells.values():
            cell.changed = False
        for counted in self.failures.values():
            counted.changed = False

    def _unfrozen(self, stream: Stream, spec: CellSpec) -> str:
        if spec.metric != "auc" or spec.task in self.bins:
            return ""
        seen = min(self._rows(side) for side in self.waiting.get((stream, spec.task), ([], [])))
        return f"{seen:,} scores, {self.item.sla.freeze_scores:,} needed to freeze the bins"


def shares_of(item: WorkItem) -> tuple[Share, ...]:
    """Which stream carries which cell, with which part of its weight; fixed before the first row.

    With a shadow, task cells are .7 shadow (which promotion looks at) and .3 canary (which may roll back), and failures
    are the canary's alone. A plan without shadow is judged on its canary."""
    shadow = item.sla.rollout.shadow_bp > 0
    shares = []
    for spec in item.sla.cells():
        if spec.metric == "failures" or not shadow:
            shares.append(Share(spec, "canary", spec.role, 1.0))
            continue
        shares.append(Share(spec, "shadow", spec.role, 0.7))
        shares.append(Share(spec, "canary", "display" if spec.role == "display" else "optional", 0.3))
    return tuple(shares)


def _both(sides: tuple[Scored, Scored]) -> tuple[Scored, NDArray[np.int64]]:
    """The rows of both sides, and the side of each."""
    return Scored.concat(list(sides)), np.repeat(np.arange(2), [len(rows) for rows in sides])


def _user_minutes(exposed: Exposed, which: NDArray[np.bool_]) -> int:
    if not which.any():
        return 0
    pairs = np.stack([exposed.entity[which], exposed.minute[which].astype(np.uint64)])
    return int(np.unique(pairs, axis=1).shape[1])
