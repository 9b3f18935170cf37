"""From numbers to words: the verdict of each cell, of all together, and what stays said (the latch)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from monitors.accumulators import Cell
from monitors.groupings import N, Y
from monitors.judgement import Judged
from monitors.metrics import Reading, auc
from monitors.rates import FailureCounts
from monitors.sequential import shown
from monitors.shares import Share
from serinus.evidence import CellEvidence, VerdictName, worst
from serinus.sla import CellSpec

SATISFIED_E = 20.0
MOST_LOST = 0.01
"""Share of the answers that may be missing in the log before nothing counts as satisfied: they are not lost by chance,
but together, and with them the very minutes in which something went wrong."""


@dataclass(slots=True)
class Latch:
    """`violated`: names of cells that alone passed the limit; `culprits`: who carried the sum when it passed."""

    violated: set[str] = field(default_factory=set)
    culprits: list[str] = field(default_factory=list)

    def update(
        self, shares: tuple[Share, ...], cells: tuple[CellEvidence, ...], limit: float
    ) -> tuple[float, tuple[CellEvidence, ...]]:
        """The sum over all cells, and the cells with `violated` where it is or was so."""
        carried: dict[str, float] = {}
        for share, cell in zip(shares, cells, strict=True):
            carried[cell.name] = carried.get(cell.name, 0.0) + share.weight * cell.e_violated
        total = math.fsum(carried.values())
        self.violated |= {name for name, value in carried.items() if value >= limit}
        if total >= limit or self.culprits:
            over = [name for name in carried if name in self.violated]
            suspect = [] if over or self.culprits else [max(carried, key=lambda name: carried[name])]
            self.culprits += [name for name in (*over, *suspect) if name not in self.culprits]
        return total, tuple(self._marked(cell, carried) for cell in cells)

    def _marked(self, cell: CellEvidence, carried: dict[str, float]) -> CellEvidence:
        speaks = cell.weight * cell.e_violated * 2 >= carried[cell.name]
        if cell.name in self.violated and cell.weight > 0 and speaks:
            return cell.model_copy(update={"verdict": "violated", "why": ""})
        return cell


def verdict_of(latch: Latch, cells: tuple[CellEvidence, ...]) -> VerdictName:
    """Violated once is violated; satisfied when every required cell is so at once; else nobody knows yet."""
    return "violated" if latch.culprits else worst(cell.verdict for cell in cells if cell.role == "required")


def unproven(cells: tuple[CellEvidence, ...], *losses: tuple[int, int]) -> tuple[CellEvidence, ...]:
    """The cells, with `error` instead of `satisfied` where too many answers are lost. Each loss: (answers, lost)."""
    for answers, lost in losses:
        if lost > MOST_LOST * (answers + lost):
            why = f"{lost:,} of {answers + lost:,} answers could not be recorded"
            return tuple(
                cell.model_copy(update={"verdict": "error", "why": why}) if cell.verdict == "satisfied" else cell
                for cell in cells
            )
    return cells


def margin_of(spec: CellSpec) -> float:
    """The margin on the scale of the estimate."""
    return math.log1p(spec.margin) if spec.metric in ("calibration", "failures") else spec.margin


def cell_of_reading(share: Share, cell: Cell, reading: Reading, judged: Judged) -> CellEvidence:
    satisfied = judged.e_satisfied >= SATISFIED_E
    bounds = (judged.low, judged.high)
    if share.spec.metric == "auc":
        bounds = (max(-1.0, judged.low), min(1.0, judged.high))
    return _cell(
        share,
        estimate=judged.estimate,
        low=_finite(bounds[0]),
        high=_finite(bounds[1]),
        e_violated=judged.e_violated,
        e_satisfied=judged.e_satisfied,
        verdict="satisfied" if satisfied else "inconclusive",
        baseline_value=reading.baseline,
        candidate_value=reading.candidate,
        why="" if satisfied else f"between {bounds[0]:+.4f} and {bounds[1]:+.4f}, margin {margin_of(share.spec):.4g}",
        **_sizes(cell),
    )


def cell_waiting(share: Share, cell: Cell, why: str) -> CellEvidence:
    """A cell before the end of its burn-in: no data is no verdict."""
    baseline = candidate = None
    if share.spec.metric == "auc" and cell.pooled.sum(axis=2).min() > 0:
        baseline, candidate = (float(value) for value in auc(cell.pooled))
    return _cell(share, baseline_value=baseline, candidate_value=candidate, why=why, **_sizes(cell))


def cell_of_failures(share: Share, counts: FailureCounts, alpha: float) -> CellEvidence:
    """The rate of failures, canary against control, in minutes of users. `positives`: failures of both arms."""
    k = 1 + share.spec.margin
    violated, satisfied = (float(shown(counts.log_e(k, rising=rising))) for rising in (True, False))
    if len(counts.segments) == 0:
        violated, satisfied = 0.0, SATISFIED_E if counts.quiet else 0.0
    interval = counts.interval(math.log(2 / alpha)) if len(counts.segments) else None
    rates = [
        float(failed / seen) if seen else None for failed, seen in zip(counts.failures, counts.exposure, strict=True)
    ]
    why = "" if satisfied >= SATISFIED_E else "no failure in either arm yet" if not counts.failures.any() else "too few"
    if not counts.exposure.min() > 0:
        why = "no answer of the canary and of the control yet"
    elif why == "too few":
        why = f"{counts.failures.sum():.0f} failures are too few to tell"
    return _cell(
        share,
        estimate=counts.log_ratio(),
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        e_violated=violated,
        e_satisfied=satisfied,
        verdict="satisfied" if satisfied >= SATISFIED_E else "inconclusive",
        baseline_value=rates[0],
        candidate_value=rates[1],
        labels=int(counts.exposure.sum()),
        positives=int(counts.failures.sum()),
        groups=len(counts.segments),
        why=why,
    )


def _sizes(cell: Cell) -> dict[str, int]:
    return {
        "labels": int(cell.sums[:, N].min()),
        "positives": int(cell.sums[:, Y].min()),
        "groups": cell.groupings[0].positive_groups,
    }


def _cell(share: Share, **values: object) -> CellEvidence:
    empty = {"estimate": None, "low": None, "high": None, "e_violated": 0.0, "e_satisfied": 0.0}
    fields = {
        "stream": share.stream,
        "task": share.spec.task,
        "slice": share.spec.slice,
        "metric": share.spec.metric,
        "role": share.role,
        "weight": share.weight,
        "margin": margin_of(share.spec),
        "verdict": "inconclusive",
        **empty,
        **values,
    }
    return CellEvidence.model_validate(fields)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
