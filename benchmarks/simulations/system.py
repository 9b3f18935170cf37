"""A whole system: three tasks, 18 slices, 66 cells in both streams, clustered users, shocks. Healthy and broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks.report import Table
from benchmarks.simulations.bounds import at_least, at_most
from benchmarks.simulations.crowd import START_MS, Crowd, ticks
from benchmarks.simulations.trial import FIRST_SEED, Outcome, Trial, item_of, roll
from serinus.sla import Sla

__all__ = ["CASES", "run", "tables", "trials"]

CALM = Crowd(hours=168, sessions=50.0, burst=2.0, users=4_000, slices=(10, 8), shock=0.2, err=0.05)
"""Users cluster, and days move a little: what the page's figures were simulated on is calmer than real traffic."""
CASES: dict[str, tuple[Crowd, int | None]] = {
    "healthy": (CALM, None),
    "all tasks worse": (replace(CALM, worse=0.65), 940),
    "one slice worse": (replace(CALM, worse=1.6, only=(0, 3)), None),
    "predictions x 1.4": (replace(CALM, scale=1.4), 230),
    "all tasks worse from day 4 on": (replace(CALM, worse=0.65, from_h=72), None),
}
"""Traffic, and the positives that the design expects until it is rolled back."""


def trials(*, quick: bool) -> list[Trial]:
    counts = [2] * len(CASES) if quick else [60, 20, 20, 20, 20]
    pairs = zip(CASES, counts, strict=True)
    return [
        Trial(suite="system", case=case, seed=seed)
        for case, count in pairs
        for seed in range(FIRST_SEED, FIRST_SEED + count)
    ]


def run(trial: Trial) -> Outcome:
    crowd, _ = CASES[trial.case]
    sla = system_sla()
    drawn = crowd.draw(5_000 + trial.seed, len(sla.tasks))
    return roll(trial, item_of(sla, START_MS), ticks(drawn, sla, ("shadow", "canary")))


def system_sla() -> Sla:
    """Default guards: AUC, calibration, log-loss and failures of three tasks, AUC in 18 slices of each."""
    task = {"label_window_s": 1_800, "absent": "negative"}
    return Sla.model_validate(
        {
            "model": "ads",
            "tasks": dict.fromkeys(("click", "like", "buy"), task),
            "slices": {"country": [f"c{at}" for at in range(10)], "device": [f"d{at}" for at in range(8)]},
            "tick_s": 14_400,
            "freeze_scores": 1_000,
        }
    )


def tables(outcomes: Sequence[Outcome]) -> list[Table]:
    table = Table(
        "A whole system of 66 cells: rolled back, and positives of the first task until then",
        ["case", "rolled back", "of", "at least", "at most", "median", "p90", "expected", "right culprit"],
    )
    for case, (crowd, page) in CASES.items():
        found = [each for each in outcomes if each.trial.case == case]
        if not found:
            continue
        fired = [each for each in found if each.word == "rolled back"]
        positives = [each.positives for each in fired]
        median, p90 = (float(v) for v in np.quantile(positives, [0.5, 0.9])) if fired else (None, None)
        right = sum(_right(crowd, each) for each in fired)
        limits = [round(limit(len(fired), len(found)), 3) for limit in (at_least, at_most)]
        table.rows.append([case, len(fired), len(found), *limits, median, p90, page, right])
    return [table]


def _right(crowd: Crowd, outcome: Outcome) -> bool:
    if crowd.only is not None:
        return any("country=c3" in name for name in outcome.culprits)
    if crowd.scale != 1:
        return any("calibration" in name or "log_loss" in name for name in outcome.culprits)
    return any("auc" in name or "log_loss" in name for name in outcome.culprits)
