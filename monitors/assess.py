"""One rollout's evidence: ticks in, `Evidence` out. No I/O, no clock, no randomness.

AUC needs frozen bins, so it is silent until `freeze_scores` scores were seen; sums of calibration and log-loss are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from monitors.accumulation import Accumulation
from monitors.accumulators import Cell
from monitors.judgement import judge
from monitors.metrics import Reading, auc_difference, calibration, log_loss, missing
from monitors.rows import Tick
from monitors.shares import RATES, Share, shares_of
from monitors.verdicts import Latch, cell_of_failures, cell_of_reading, cell_waiting, margin_of, unproven, verdict_of
from serinus.evidence import CellEvidence, Evidence, Stream, WorkItem
from serinus.sla import CellSpec

__all__ = ["Assessor", "shares_of"]

READINGS = {"auc": auc_difference, "calibration": calibration, "log_loss": log_loss}


@dataclass(slots=True)
class Assessor:
    """`replay`: it judges logged requests that were scored again, alone; `whole`: all that was seen so far;
    `latch`: what was once violated."""

    item: WorkItem
    replay: bool = False
    whole: Accumulation = field(init=False)
    latch: Latch = field(default_factory=Latch)
    last_tick_ms: int | None = None
    shares: tuple[Share, ...] = ()
    _shown: dict[int, CellEvidence] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shares = shares_of(self.item, replay=self.replay)
        self.whole = Accumulation(self.item, self.replay)

    @property
    def limit(self) -> float:
        return 1 / self.item.alpha

    def consume(self, tick: Tick) -> Evidence:
        """Take in one tick, after all earlier ones, and say what is known then.

        Raises ValueError at a tick that is not later than the last one."""
        self._follow(tick.tick_ms)
        self.whole.add(tick)
        return self._evidence(tick.tick_ms, self.whole.settle())

    def consume_parts(self, tick_ms: int, parts: Iterable[Accumulation]) -> Evidence:
        """The same of a tick whose rows were accumulated in parts (`whole.blank()`), in any order."""
        self._follow(tick_ms)
        for part in parts:
            self.whole.absorb(part)
        return self._evidence(tick_ms, self.whole.settle())

    def _follow(self, tick_ms: int) -> None:
        if self.last_tick_ms is not None and tick_ms <= self.last_tick_ms:
            raise ValueError(f"tick {tick_ms} does not follow tick {self.last_tick_ms}")
        self.last_tick_ms = tick_ms

    def _evidence(self, tick_ms: int, now: Mapping[str, int]) -> Evidence:
        """`now`: counts of this tick. Losses are looked at in it, and in all ticks together."""
        self._look()
        cells = tuple(self._shown[at] for at in range(len(self.shares)))
        total, cells = self.latch.update(self.shares, cells, self.limit)
        cells = unproven(cells, *((of.get("answers", 0), of.get("answers_lost", 0)) for of in (now, self.whole.counts)))
        counts = {**self.whole.counts, "corrupt_logs": len(self.whole.corrupt)}
        return Evidence(
            rollout=self.item.rollout,
            model=self.item.model,
            baseline=self.item.baseline,
            candidate=self.item.candidate,
            tick_ms=tick_ms,
            watermark_ms=tick_ms,
            first_event_ms=self.whole.first_event_ms,
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
            if spec.metric in RATES:
                counted = self.whole.failures[spec.task, spec.slice]
                if counted.changed or at not in self._shown:
                    self._shown[at] = cell_of_failures(share, counted, self.item.alpha)
                continue
            cell = self.whole.cells[share.stream, spec.task, spec.slice]
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
        for cell in self.whole.cells.values():
            cell.changed = False
        for counted in self.whole.failures.values():
            counted.changed = False

    def _unfrozen(self, stream: Stream, spec: CellSpec) -> str:
        if spec.metric != "auc" or spec.task in self.whole.bins:
            return ""
        seen = self.whole.rows_waiting(stream, spec.task)
        return f"{seen:,} scores, {self.item.sla.freeze_scores:,} needed to freeze the bins"
