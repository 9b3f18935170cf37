"""One guard before its rollout: what it needs, whether that comes in time, and what would help. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from monitors.plan_days import Unseen, day_sd
from monitors.plan_params import PlanParams, base_rate_of, correlation_of
from monitors.planning import (
    RESTARTS,
    SHOCKS,
    Need,
    Schedule,
    Spread,
    count_needed,
    excess_limit,
    failures_needed,
    j_of,
    spread_of,
)
from monitors.shares import RATES, Share
from monitors.survey import SliceSurvey, Survey
from serinus.guards import EARLY, Metric
from serinus.sla import Sla

__all__ = ["DAY_S", "Planned", "planned", "schedule_of"]

DAY_S = 86_400
SATISFIED_ALPHA = 0.05
NEED_SCALE: frozenset[Metric] = frozenset({"auc", "early_auc", "loss", "bias"})
"""Silent until so many scores were seen as bins, or the unit of a number, are frozen from."""
FEW_FAILURES = 1e-4
"""Share of answers taken for failed where none was logged."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One cell in one stream. `promote`: None where promotion does not wait for it; `why`: what is wrong, if it is."""

    share: Share
    alpha: float
    promote: Need | None
    catch: Need | None
    size: float
    per_day: float
    unit: str
    measured: bool
    decidable: str
    why: str = ""
    helps: tuple[str, ...] = ()

    @property
    def plain(self) -> dict[str, Any]:
        spec = self.share.spec
        return {
            "name": spec.name,
            "task": spec.task,
            "slice": spec.slice,
            "metric": spec.metric,
            "stream": self.share.stream,
            "role": self.share.role,
            "margin": spec.margin,
            "alpha": self.alpha,
            "unit": self.unit,
            "per_day": self.per_day,
            "measured": self.measured,
            "promote": self.promote and self.promote.plain,
            "catch": self.catch and {"size": self.size, **self.catch.plain},
            "decidable": self.decidable,
            "why": self.why,
            "helps": list(self.helps),
        }


def planned(params: PlanParams, found: Survey, share: Share, alpha: float) -> Planned:
    of_rates = share.spec.metric in RATES
    cell = alpha * share.weight * RESTARTS
    return _rate(params, found, share, cell) if of_rates else _metric(params, found, share, cell)


def _metric(params: PlanParams, found: Survey, share: Share, alpha: float) -> Planned:
    sla, spec = params.sla, share.spec
    task = found.tasks[spec.task]
    traffic = task.slices.get(spec.slice, SliceSurvey(0.0, 0.0))
    rate = base_rate_of(params, task, spec.task)
    spread = spread_of(
        spec.metric,
        spec.margin,
        paired=correlation_of(params, task) if share.stream == "shadow" else None,
        base_rate=rate,
        sample=(task.p, task.y) if sla.tasks[spec.task].kind != "regression" else (np.zeros(0), np.zeros(0)),
    )
    per_day = traffic.positives if spread.per_positive else traffic.labels
    size, excess = _regression(params, spec.metric, spec.margin)
    schedule = schedule_of(sla, share.stream)
    delay = _delay_days(sla, spec.task, spec.metric)
    least = sla.freeze_scores / traffic.labels if traffic.labels and spec.metric in NEED_SCALE else 0.0
    coming = _Coming(spec.metric, per_day, schedule, delay, least)
    catch = coming.need(spread.rollback, alpha / spread.halves, excess)
    promote = None
    if share.role == "required":
        gap = math.log1p(spec.margin) if spec.metric == "calibration" else spec.margin
        promote = coming.need(spread.promote, SATISFIED_ALPHA / spread.halves, gap)
    made = Planned(
        share, alpha, promote, catch, size, per_day, "positives" if spread.per_positive else "labels",
        spread.measured, "yes",
    )  # fmt: skip
    return _judged(params, made, schedule, delay, spread)


@dataclass(frozen=True, slots=True)
class _Coming:
    """How the labels of a guard come. Days; `least`: of whole traffic, before anything can be said."""

    metric: Metric
    per_day: float
    schedule: Schedule
    delay: float
    least: float

    def need(self, variance: float, alpha: float, excess: float) -> Need:
        unseen = Unseen(variance, day_sd(self.metric), excess_limit(alpha, excess)) if excess > 0 else None
        count = count_needed(variance, alpha, excess)
        return Need.of(count, self.per_day, self.schedule, self.delay, least=self.least, unseen=unseen)


def _rate(params: PlanParams, found: Survey, share: Share, alpha: float) -> Planned:
    """Rates count failures of both arms; where none fails at all the guard is content at once."""
    spec, schedule = share.spec, schedule_of(params.sla, "canary")
    margin_ratio, ratio = 1 + spec.margin, 2 * (1 + spec.margin)
    base = found.failed or FEW_FAILURES
    per_day = found.answers * base * (1 + ratio)
    catch = Need.of(failures_needed(ratio, margin_ratio, alpha), per_day, schedule, 0.0)
    promote = None
    if share.role == "required":
        quiet = failures_needed(1.0, margin_ratio, SATISFIED_ALPHA) if found.failed else 0.0
        promote = Need.of(quiet, found.answers * base * 2, schedule, 0.0)
    made = Planned(share, alpha, promote, catch, ratio, per_day, "failures", bool(found.failed), "yes")
    return _judged(params, made, schedule, 0.0, None)


def _judged(params: PlanParams, made: Planned, schedule: Schedule, delay: float, spread: Spread | None) -> Planned:
    """Whether it can be decided in time, and what would help."""
    need = made.promote or made.catch
    most = params.sla.rollout.max_duration_s / DAY_S
    if need is None or need.days[1] <= most:
        return made
    never = need.days[0] > most
    what = "promotion waits for it" if made.promote else f"a regression of {made.size:.3g} is caught"
    share = made.share
    if made.per_day <= 0 and params.per_day is not None:
        return replace(made, decidable="unknown", why="how many there are of it only the logs can tell")
    if made.per_day <= 0:
        why = "nothing of it is logged"
    elif never:
        why = f"{need.count:,.0f} {made.unit} at {made.per_day:,.1f} a day: {what} only after {most:g} days"
    else:
        why = f"in time only without shocks: {what} for {need.days[0]:.0f} to {need.days[1]:.0f} days"
    helps = []
    whole = schedule.seen(most - delay) * made.per_day
    if spread is not None and whole > 0:
        variance, alpha = (spread.promote, SATISFIED_ALPHA) if made.promote else (spread.rollback, made.alpha)
        gap = math.sqrt(SHOCKS[1] * variance * j_of(alpha / spread.halves) / whole)
        wide = math.expm1(gap) if share.spec.metric == "calibration" else gap
        if made.promote and wide < 0.5:
            helps.append(f"margin {math.ceil(wide * 1000) / 1000:g} in place of {share.spec.margin:g}")
        elif not made.promote:
            helps.append(f"it sees a regression of {share.spec.margin + gap:.2g} in time")
    if math.isfinite(need.days[1]) and need.days[1] <= 366:
        helps.append(f"max_duration_s of {math.ceil(need.days[1])} days in place of {most:g}")
    if share.stream == "shadow" and params.sla.rollout.shadow_bp < 10_000:
        helps.append(f"shadow_bp 10000: {10_000 / params.sla.rollout.shadow_bp:.3g} times as many")
    if share.stream == "canary" and params.sla.rollout.shadow_bp == 0 and share.spec.metric not in RATES:
        helps.append("shadow traffic: paired scores need a tenth of the labels")
    if never:
        helps.append("drop it: role display")
    return replace(made, decidable="never" if never else "unsure", why=why, helps=tuple(helps))


def schedule_of(sla: Sla, stream: str) -> Schedule:
    """Days since the shadow began, and what share of the requests the stream then sees (each arm of a canary)."""
    plan = sla.rollout
    if stream == "shadow":
        return Schedule((0.0,), (plan.shadow_bp / 10_000,))
    starts, shares, at = [0.0], [0.0], plan.shadow_hold_s / DAY_S
    for step in plan.steps:
        starts.append(at)
        shares.append(min(step.canary_bp, 5_000) / 10_000)
        at += step.hold_s / DAY_S
    return Schedule(tuple(starts), tuple(shares))


def _delay_days(sla: Sla, task: str, metric: Metric) -> float:
    early = sla.tasks[task].early_window_s
    return (early if metric in EARLY and early is not None else sla.horizon_s(task)) / DAY_S


def _regression(params: PlanParams, metric: Metric, margin: float) -> tuple[float, float]:
    """(size of the regression that is to be caught, what of it lies beyond the margin)."""
    if metric in ("calibration", "early_ratio"):
        size = (1 + margin) ** 3 - 1
        return size, math.log1p(size) - math.log1p(margin)
    if params.regression is not None and metric in ("auc", "early_auc", "top1"):
        return params.regression, params.regression - margin
    return 3 * margin, 2 * margin
