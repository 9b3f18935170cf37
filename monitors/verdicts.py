"""From numbers to the evidence of a cell: its verdict, and what it still lacks, in words."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np

from monitors.accumulators import Cell
from monitors.displayed import Displayed
from monitors.groupings import N, Y
from monitors.judgement import Judged
from monitors.metrics import BY_ROWS, MIN_GROUPS, MIN_POSITIVES, Reading, auc
from monitors.rates import FailureCounts
from monitors.restarts import combined
from monitors.sequential import shown
from monitors.shares import RATES, Share
from serinus.evidence import CellEvidence
from serinus.guards import CellSpec, Metric
from serinus.tasks import TaskKind

SATISFIED_E = 20.0
HELD_E = 20.0
"""A cell that only holds is violated from this e-value on, each on its own."""
_ON_LOG_SCALE: frozenset[Metric] = frozenset({"calibration", "early_ratio", "shift", *RATES})


def margin_of(spec: CellSpec) -> float:
    """The margin on the scale of the estimate."""
    return math.log1p(spec.margin) if spec.metric in _ON_LOG_SCALE else spec.margin


def by_rows(metric: Metric, kind: TaskKind) -> bool:
    """True where the burn-in counts rows: the metric or the task has no positives."""
    return metric in BY_ROWS or (kind != "binary" and metric != "top1")


def missing(cell: Cell, *, rows_only: bool = False) -> tuple[str, int | None]:
    """What the burn-in still lacks, in words, and how many more labels that will be about; ("", None) when it is over.

    `rows_only`: rows count, there are no positives."""
    sums = cell.sums
    rows = int(sums[:, N].min())
    if not rows:
        return ("no row yet" if rows_only else "no mature label yet"), None
    groups = int((cell.users.sums[:, :, N if rows_only else Y].sum(axis=0) > 0).sum(axis=1).min())
    kinds = {"rows": rows} if rows_only else _both_labels(sums)
    for name, found in kinds.items():
        if found < MIN_POSITIVES:
            needs = math.ceil((MIN_POSITIVES - found) * rows / found) if found else None
            more = "" if needs is None else f"; about {needs:,} more labels"
            return f"{found} of {MIN_POSITIVES} {name}{more}", needs
    if groups < MIN_GROUPS:
        what = "rows" if rows_only else "positives"
        return f"{what} in {groups} of {MIN_GROUPS} groups of users", None
    return "", None


def cell_of_reading(share: Share, cell: Cell, reading: Reading, judged: Judged, kind: TaskKind) -> CellEvidence:
    satisfied = judged.e_satisfied >= SATISFIED_E
    bounds = (judged.low, judged.high)
    if share.spec.metric in ("auc", "early_auc", "top1"):
        bounds = (max(-1.0, judged.low), min(1.0, judged.high))
    e = combined(judged.violated, len(cell.layout.boundaries))
    held = share.role == "hold" and e >= HELD_E
    margin = margin_of(share.spec)
    why = "" if satisfied and not held else f"between {bounds[0]:+.4f} and {bounds[1]:+.4f}, margin {margin:.4g}"
    return _cell(
        share,
        estimate=judged.estimate,
        low=_finite(bounds[0]),
        high=_finite(bounds[1]),
        e_violated=e,
        e_satisfied=judged.e_satisfied,
        verdict="violated" if held else "satisfied" if satisfied else "inconclusive",
        baseline_value=reading.baseline,
        candidate_value=reading.candidate,
        why=why + _since(cell, judged),
        **_sizes(cell, rows_only=by_rows(share.spec.metric, kind)),
    )


def cell_shown(share: Share, cell: Cell, value: Displayed) -> CellEvidence:
    """A metric that is not tested: its number, against the margin where the guard holds."""
    over = share.role == "hold" and value.estimate > share.spec.margin
    return _cell(
        share,
        estimate=value.estimate,
        verdict="violated" if over else "inconclusive",
        baseline_value=value.baseline,
        candidate_value=value.candidate,
        why=f"{value.estimate:.4g}, margin {share.spec.margin:.4g}" if over else "shown, not tested",
        **_sizes(cell, rows_only=share.spec.metric in BY_ROWS),
    )


def cell_waiting(share: Share, cell: Cell, why: str, needs: int | None) -> CellEvidence:
    """A cell before the end of its burn-in: no data is no verdict."""
    baseline = candidate = None
    counts = cell.pooled.sum(axis=0)
    if share.spec.metric in ("auc", "early_auc") and counts.sum(axis=2).min() > 0:
        baseline, candidate = (float(value) for value in auc(counts.astype(np.float64)))
    sizes = _sizes(cell, rows_only=share.spec.metric in BY_ROWS)
    return _cell(share, baseline_value=baseline, candidate_value=candidate, why=why, needs=needs, **sizes)


def cell_of_rate(share: Share, counts: FailureCounts, alpha: float) -> CellEvidence:
    """The rate of failed or of slow answers, canary against control, in minutes of users. `positives`: of both arms."""
    k, what = 1 + share.spec.margin, "failure" if share.spec.metric == "failures" else "slow answer"
    violated, satisfied = (float(shown(counts.log_e(k, rising=rising))) for rising in (True, False))
    if len(counts.segments) == 0:
        violated, satisfied = 0.0, SATISFIED_E if counts.quiet else 0.0
    interval = counts.interval(math.log(2 / alpha)) if len(counts.segments) else None
    rates = [
        float(failed / seen) if seen else None for failed, seen in zip(counts.failures, counts.exposure, strict=True)
    ]
    if not counts.exposure.min() > 0:
        why = "no answer of the canary and of the control yet"
    elif satisfied >= SATISFIED_E:
        why = ""
    elif not counts.failures.any():
        why = f"no {what} in either arm yet"
    else:
        why = f"{counts.failures.sum():.0f} {what}s are too few to tell"
    held = share.role == "hold" and violated >= HELD_E
    return _cell(
        share,
        estimate=counts.log_ratio(),
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        e_violated=violated,
        e_satisfied=satisfied,
        verdict="violated" if held else "satisfied" if satisfied >= SATISFIED_E else "inconclusive",
        baseline_value=rates[0],
        candidate_value=rates[1],
        labels=int(counts.exposure.sum()),
        positives=int(counts.failures.sum()),
        groups=len(counts.segments),
        why=why,
    )


def hold_of(cell: CellEvidence) -> str:
    """A violated cell of role `hold`, in words."""
    sides = ""
    if cell.baseline_value is not None and cell.candidate_value is not None:
        sides = f" (baseline {cell.baseline_value:.4g}, candidate {cell.candidate_value:.4g})"
    return f"{cell.stream}: {cell.name} {cell.estimate:.4g}, margin {cell.margin:.4g}{sides}, {cell.labels:,} rows"


def _both_labels(sums: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> dict[str, int]:
    negatives = sums[:, N] - sums[:, Y]
    return {"positives": int(sums[:, Y].min()), "negatives": int(negatives.min())}


def _since(cell: Cell, judged: Judged) -> str:
    """Named where what came since one restart says more than all from the start."""
    best = int(np.argmax(judged.violated))
    if not best or judged.violated[best] < SATISFIED_E:
        return ""
    day = datetime.fromtimestamp(cell.layout.boundaries[best - 1] / 1000, UTC)
    return f"; worst since {day:%Y-%m-%d}"


def _sizes(cell: Cell, *, rows_only: bool) -> dict[str, int]:
    sums, column = cell.sums, N if rows_only else Y
    groups = (cell.users.sums[:, :, column].sum(axis=0) > 0).sum(axis=1).min()
    return {"labels": int(sums[:, N].min()), "positives": int(sums[:, column].min()), "groups": int(groups)}


def _cell(share: Share, **values: object) -> CellEvidence:
    empty = {"estimate": None, "low": None, "high": None, "e_violated": 0.0, "e_satisfied": 0.0}
    fields = {
        "stream": share.stream,
        "task": share.spec.task,
        "slice": share.spec.slice,
        "metric": share.spec.metric,
        "role": share.role,
        "weight": share.carried,
        "margin": margin_of(share.spec),
        "verdict": "inconclusive",
        "horizon": share.spec.horizon,
        "baseline_value": None,
        "candidate_value": None,
        **empty,
        **values,
    }
    return CellEvidence.model_validate(fields)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
