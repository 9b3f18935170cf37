"""One rollout's evidence: ticks in, `Evidence` out. No I/O, no clock, no randomness.

AUC needs frozen bins, so it is silent until `freeze_scores` scores were seen; sums of calibration and log-loss are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np

from monitors.accumulation import Accumulation
from monitors.accumulation_state import of_state, state_of, under
from monitors.accumulators import Cell, State
from monitors.displayed import DISPLAYED, lacks_label
from monitors.judgement import judge
from monitors.latch import Latch, unproven, verdict_of
from monitors.layouts import Place, place_of
from monitors.metrics import Reading, read
from monitors.rows import Tick
from monitors.shares import RATES, Share, shares_of
from monitors.statefile import Packed, pack, packed
from monitors.verdicts import (
    by_rows,
    cell_of_rate,
    cell_of_reading,
    cell_shown,
    cell_waiting,
    hold_of,
    margin_of,
    missing,
)
from monitors.windows import Windows
from serinus.evidence import METHOD, CellEvidence, Evidence, InputEvidence, VerdictName, WorkItem

__all__ = ["Assessor", "shares_of"]


class Header(msgspec.Struct, frozen=True):
    """What of an assessor is neither accumulated nor an array. `inputs`: JSON of each input check."""

    method: str
    rollout: str
    replay: bool
    violated: list[str]
    culprits: list[str]
    last_tick_ms: int | None
    recent: dict[str, int]
    inputs: list[str]
    holds: list[str]


@dataclass(slots=True)
class Assessor:
    """`replay`: it judges logged requests that were scored again, alone; `whole`: all that was seen so far;
    `latch`: what was once violated; `recent`, `inputs`, `holds`: counts, input checks and other holds of the last
    tick."""

    item: WorkItem
    replay: bool = False
    whole: Accumulation = field(init=False)
    latch: Latch = field(default_factory=Latch)
    last_tick_ms: int | None = None
    recent: dict[str, int] = field(default_factory=dict)
    inputs: tuple[InputEvidence, ...] = ()
    holds: tuple[str, ...] = ()
    shares: tuple[Share, ...] = ()
    settled: Packed = field(default_factory=Packed)
    """The state of the last look, as `state_bytes` has it."""
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
        return self._settle(tick.inputs)

    def consume_parts(
        self, tick_ms: int, parts: Iterable[Accumulation], inputs: tuple[InputEvidence, ...] = ()
    ) -> Evidence:
        """The same of a tick whose rows were accumulated in parts (`whole.blank()`), in any order."""
        self._follow(tick_ms)
        for part in parts:
            self.whole.absorb(part)
        return self._settle(inputs)

    def look(self) -> Evidence:
        """What the state says, as of its last tick: again and again the same."""
        if self.last_tick_ms is None:
            raise ValueError("nothing was taken in yet")
        if self.item.method != METHOD:
            return self._evidence((), 0.0, "error", (self._other_method(),))
        self._judge()
        cells = tuple(self._shown[at] for at in range(len(self.shares)))
        total, cells = self.latch.update(self.shares, cells, self.limit)
        counts: tuple[Mapping[str, int], ...] = (self.recent, self.whole.counts)
        cells = unproven(cells, *((of.get("answers", 0), of.get("answers_lost", 0)) for of in counts))
        held = [hold_of(cell) for cell in cells if cell.role == "hold" and cell.verdict == "violated"]
        held += [f"input {check.input}, {check.check}: {check.why}" for check in self.inputs if check.holds]
        return self._evidence(cells, total, verdict_of(self.latch, cells), (*held, *self.holds))

    def state(self) -> State:
        """Everything that the next look rests on, with nothing but that, in an order that only its content gives."""
        header = Header(
            method=self.item.method,
            rollout=self.item.rollout,
            replay=self.replay,
            violated=sorted(self.latch.violated),
            culprits=self.latch.culprits,
            last_tick_ms=self.last_tick_ms,
            recent=dict(sorted(self.recent.items())),
            inputs=[check.model_dump_json() for check in self.inputs],
            holds=list(self.holds),
        )
        arrays: State = {"assessor": np.frombuffer(msgspec.json.encode(header), np.uint8)}
        return arrays | {f"whole/{name}": array for name, array in state_of(self.whole).items()}

    def state_bytes(self) -> bytes:
        """The state as bytes, equal for equal states; their SHA-256 is the evidence's `state_digest`."""
        return pack(self.state())

    @classmethod
    def of_state(cls, item: WorkItem, arrays: State) -> Assessor:
        """The assessor whose `state` it is; it goes on bit by bit as if it had never stopped.

        Raises KeyError or ValueError when the state is damaged, of another rollout or of another method."""
        header = msgspec.json.decode(arrays["assessor"].tobytes(), type=Header)
        if (header.method, header.rollout) != (item.method, item.rollout):
            raise ValueError(f"the state is of rollout {header.rollout} and method {header.method}")
        assessor = cls(item, header.replay)
        assessor.whole = of_state(item, under(arrays, "whole/"), replay=header.replay)
        assessor.latch = Latch(set(header.violated), header.culprits)
        assessor.last_tick_ms, assessor.recent = header.last_tick_ms, header.recent
        assessor.inputs = tuple(InputEvidence.model_validate_json(each) for each in header.inputs)
        assessor.holds = tuple(header.holds)
        return assessor

    def _follow(self, tick_ms: int) -> None:
        if self.last_tick_ms is not None and tick_ms <= self.last_tick_ms:
            raise ValueError(f"tick {tick_ms} does not follow tick {self.last_tick_ms}")
        self.last_tick_ms = tick_ms

    def _settle(self, inputs: tuple[InputEvidence, ...]) -> Evidence:
        self.inputs, self.holds = inputs, tuple(sorted(self.whole.holds))
        self.whole.holds = set()
        self.recent = self.whole.settle()
        return self.look()

    def _other_method(self) -> str:
        return (
            f"the rollout began with method {self.item.method} and this monitor knows only method {METHOD}: "
            "roll it out anew, or run a monitor of the release that it began with"
        )

    def _evidence(
        self, cells: tuple[CellEvidence, ...], e: float, verdict: VerdictName, holds: tuple[str, ...]
    ) -> Evidence:
        counts = {**self.whole.counts, "corrupt_logs": len(self.whole.corrupt)}
        self.settled = packed(self.state())
        return Evidence(
            rollout=self.item.rollout,
            model=self.item.model,
            baseline=self.item.baseline,
            candidate=self.item.candidate,
            tick_ms=self.last_tick_ms or 0,
            watermark_ms=self.last_tick_ms or 0,
            first_event_ms=self.whole.first_event_ms,
            e=e,
            limit=self.limit,
            verdict=verdict,
            culprits=tuple(self.latch.culprits),
            cells=cells,
            counts=dict(sorted(counts.items())),
            holds=holds,
            inputs=self.inputs,
            state_digest=self.settled.digest,
        )

    def _judge(self) -> None:
        """Evaluate the cells whose data changed, all at once."""
        readings: list[tuple[int, Cell, Reading]] = []
        by_place: dict[Place, list[int]] = {}
        for at, share in enumerate(self.shares):
            spec = share.spec
            if spec.metric in RATES:
                counted = self.whole.rates[spec.metric, spec.task, spec.slice]
                if counted.changed or at not in self._shown:
                    self._shown[at] = cell_of_rate(share, counted, self.item.alpha)
            else:
                by_place.setdefault(place_of(share), []).append(at)
        for place, mine in by_place.items():
            cell = self.whole.cells[place]
            fresh = [at for at in mine if cell.changed or at not in self._shown]
            if not fresh:
                continue
            windows = Windows.of(cell)  # many times the cell: of one place at a time
            for at in fresh:
                found = self._reading(self.shares[at], cell, windows)
                if isinstance(found, Reading):
                    readings.append((at, cell, found))
                else:
                    self._shown[at] = found
        readings.sort(key=lambda each: each[0])
        pairs = [(reading, margin_of(self.shares[at].spec)) for at, _, reading in readings]
        for (at, cell, reading), judged in zip(readings, judge(pairs, self.item.alpha), strict=True):
            kind = self.item.sla.tasks[self.shares[at].spec.task].kind
            self._shown[at] = cell_of_reading(self.shares[at], cell, reading, judged, kind)
        for each in self.whole.cells.values():
            each.changed = False
        for rate in self.whole.rates.values():
            rate.changed = False

    def _reading(self, share: Share, cell: Cell, windows: Windows) -> Reading | CellEvidence:
        """What there is to judge, or a cell that has nothing to be judged."""
        spec, kind = share.spec, self.item.sla.tasks[share.spec.task].kind
        why, needs = missing(cell, rows_only=by_rows(spec.metric, kind))
        if not why or kind == "regression":
            late, scores = self._unfrozen(share, cell, windows)
            why, needs = (late, scores) if late else (why, needs)
        if why:
            return cell_waiting(share, cell, why, needs)
        if spec.metric in DISPLAYED:
            if lacks_label(spec.metric, windows):
                return cell_waiting(share, cell, "only one of the two labels yet", None)
            return cell_shown(share, cell, DISPLAYED[spec.metric](windows))
        reading = read(spec.metric, windows, probabilities=kind == "binary")
        return reading if reading.ready[0] else cell_waiting(share, cell, "the baseline's own value is 0", None)

    def _unfrozen(self, share: Share, cell: Cell, windows: Windows) -> tuple[str, int | None]:
        """What is missing until bins and units are frozen, if the metric needs them."""
        stream, task, _, source = place_of(share)
        numbers = self.item.sla.tasks[task].kind == "regression"
        if not numbers and (not cell.layout.pooled or share.spec.metric not in (*DISPLAYED, "auc", "early_auc")):
            return "", None
        if numbers and (task, source != "unlabelled") in self.whole.bins:
            return "", None
        if not numbers and windows.pooled[0].sum(axis=(1, 2)).min() > 0:
            return "", None
        seen, wanted = self.whole.rows_waiting((stream, task, source)), self.item.sla.freeze_scores
        return f"{seen:,} of {wanted:,} scores to freeze the bins", max(wanted - seen, 0)
