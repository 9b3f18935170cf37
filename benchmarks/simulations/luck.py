"""A/A: two models that err by the same law, looked at 20 times an hour; and a candidate exactly at its margin.

Users come in bursts and keep their taste, hours and days move everybody, and labels come half an hour later. `days`:
two weeks with a look an hour, so that the shocks of whole days are in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from statistics import fmean

import numpy as np
from scipy.stats import rankdata

from benchmarks.report import Table
from benchmarks.simulations.bounds import at_most
from benchmarks.simulations.crowd import START_MS, Crowd, ticks
from benchmarks.simulations.trial import FIRST_SEED, Outcome, Trial, item_of, roll
from monitors.rows import Floats
from serinus.sla import Sla

__all__ = ["CASES", "run", "tables", "trials"]

TWO_DAYS = Crowd(hours=48)
TWO_WEEKS = Crowd(hours=336, sessions=10.0)
WORSE = 1.0
CASES = {
    "two days, healthy": TWO_DAYS,
    "two days, at the margin": replace(TWO_DAYS, worse=WORSE),
    "two days, rates at the margin": replace(TWO_DAYS, failing=(0.02, 0.03)),
    "two weeks, healthy": TWO_WEEKS,
    "two weeks, at the margin": replace(TWO_WEEKS, worse=WORSE),
}
RATES = 0.2
"""Margin of the failures in the case where their rate is at it: 1.5 times."""


def trials(*, quick: bool) -> list[Trial]:
    count = 6 if quick else 100
    return [
        Trial(suite="luck", case=case, seed=seed) for case in CASES for seed in range(FIRST_SEED, FIRST_SEED + count)
    ]


def run(trial: Trial) -> Outcome:
    crowd = CASES[trial.case]
    drawn = crowd.draw(1_000 + trial.seed)
    tick_s = 180 if crowd.hours == TWO_DAYS.hours else 3_600
    if crowd.worse:
        sla = _sla(tick_s, [{"task": "click", "metric": "auc", "margin": true_loss(crowd)}])
        return roll(trial, item_of(sla, START_MS), ticks(drawn, sla, ("replay",)), replay=True)
    if crowd.failing[1] > crowd.failing[0]:
        weighty = {"task": "click", "metric": "failures", "margin": 0.5, "weight": 0.99}
        sla = _sla(tick_s, [weighty, {"task": "click", "metric": "auc", "margin": 0.5}])
        return roll(trial, item_of(sla, START_MS), ticks(drawn, sla, ("canary",)))
    sla = _sla(tick_s, [])
    return roll(trial, item_of(sla, START_MS), ticks(drawn, sla, ("shadow", "canary")))


def _sla(tick_s: int, guards: list[dict[str, object]]) -> Sla:
    task = {"label_window_s": 1_800, "absent": "negative"}
    return Sla.model_validate(
        {"model": "ads", "tasks": {"click": task}, "tick_s": tick_s, "freeze_scores": 500, "guards": guards}
    )


@cache
def true_loss(crowd: Crowd, draws: int = 150) -> float:
    """What the candidate truly loses in AUC over so many hours: the mean over rollouts that nobody looks at."""
    found = []
    for seed in range(draws):
        drawn = crowd.draw(1_000_000 + seed)
        found.append(exact_auc(drawn.y[0], drawn.a[0]) - exact_auc(drawn.y[0], drawn.b[0]))
    return fmean(found)


def exact_auc(y: Floats, p: Floats) -> float:
    """By ranks, ties half."""
    positives = int(y.sum())
    above = float(rankdata(p)[y > 0].sum()) - positives * (positives + 1) / 2
    return above / (positives * (len(y) - positives))


def tables(outcomes: Sequence[Outcome]) -> list[Table]:
    table = Table(
        "Rolled back, though no worse than its margins (alpha .05)",
        ["case", "looks each", "rolled back", "of", "at most (95 %)"],
    )
    for case in CASES:
        found = [each for each in outcomes if each.trial.case == case]
        if found:
            fired = sum(each.word == "rolled back" for each in found)
            looks = int(np.median([each.looks for each in found]))
            table.rows.append([case, looks, fired, len(found), round(at_most(fired, len(found)), 3)])
    return [table]
