"""Is the stable version as good as its baseline says? Over rolling windows, with an interval for each. Pure.

The variance is the largest over blocks of an hour, six hours and a day that are left out in turn; where there are less
than five of them (the window of an hour), 16 times that of independent rows, as in the first days of a rollout. An
alert needs odds: the mixture e-value of one look, so a look at something fine raises it with probability at most
1 / odds. Windows overlap, looks are many and nothing is corrected for that: it tells a person, it decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitors.days import MIN_BLOCKS
from monitors.drift import psi, shares_of
from monitors.health_counts import LOSS, SQUARES, HealthCounts, N, P, Y
from monitors.input_checks import CLUSTER
from monitors.metrics import FIRST_DAYS_FACTOR
from monitors.sequential import CALIBRATION_TAUS, DIFFERENCE_TAUS, critical_z, log_e, normal_from_t, t_from_normal
from serinus.baseline import TaskBaseline
from serinus.limits import HealthLimits

__all__ = ["WINDOWS_H", "Finding", "findings"]

Floats = NDArray[np.float64]
WINDOWS_H = (1, 24, 168)
BLOCKS_H = (1, 6, 24)
LEAST_ROWS = 500
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Finding:
    """One check over one window. `excess`: how much worse than the baseline, in its own unit; `raises`: an interval
    around it excludes `limit`; `ends`: it is within the limit; neither where there is not enough to say."""

    check: str
    window_h: int
    value: float
    excess: float
    limit: float
    raises: bool
    ends: bool
    text: str


def findings(
    counts: HealthCounts, place: int, told: TaskBaseline, limits: HealthLimits, ends: tuple[int, int]
) -> Iterator[Finding]:
    """Every check of one task in one place. `ends`: the first event hour that is not over, and the first whose labels
    are not all mature."""
    now_h, mature_h = ends
    for length in WINDOWS_H:
        hours = [hour for hour in range(mature_h - length, mature_h) if hour in counts.hist]
        if hours:
            hist = np.stack([counts.hist[hour][place] for hour in hours]).astype(np.float64)
            sums = np.stack([counts.sums[hour][place] for hour in hours])
            window = _Labelled(np.array(hours), hist, sums, length)
            if window.enough(limits.positives):
                yield from _quality(window, told, limits)
        if length > 1 and limits.score_psi is not None and told.scores is not None:
            yield from _drift(counts, place, told, limits.score_psi, (now_h, length))


@dataclass(frozen=True, slots=True)
class _Labelled:
    """A window's hours: `hist`: (hours, 2, K); `sums`: (hours, 5)."""

    hours: NDArray[np.int64]
    hist: Floats
    sums: Floats
    length: int

    def enough(self, positives: int) -> bool:
        ones, rows = self.sums[:, Y].sum(), self.sums[:, N].sum()
        return bool(min(ones, rows - ones) >= positives)

    def variance(self, name: str) -> tuple[float, float]:
        """(Variance, degrees of freedom) of a statistic of the window."""
        found = []
        for width in BLOCKS_H:
            blocks, number = np.unique(self.hours // width, return_inverse=True)
            hist, sums = np.zeros((len(blocks), *self.hist.shape[1:])), np.zeros((len(blocks), 5))
            np.add.at(hist, number, self.hist)
            np.add.at(sums, number, self.sums)
            full = int((sums[:, Y] > 0).sum())
            if full < MIN_BLOCKS:
                continue
            without = _statistic(name, hist.sum(axis=0) - hist, sums.sum(axis=0) - sums)
            count = len(blocks)
            found.append(((count - 1) / count * float(np.square(without - without.mean()).sum()), full - 1.0))
        if found:
            return max(found)
        return FIRST_DAYS_FACTOR * _of_rows(name, self.hist.sum(axis=0), self.sums.sum(axis=0)), 30.0

    def value(self, name: str) -> float:
        return float(_statistic(name, self.hist.sum(axis=0), self.sums.sum(axis=0)))


def _quality(window: _Labelled, told: TaskBaseline, limits: HealthLimits) -> Iterator[Finding]:
    if limits.auc is not None and told.auc is not None:
        found = window.value("auc")
        yield _judged(window, "auc", (found, told.auc - found, 1.0), (limits.auc, limits.odds))
    if limits.calibration is not None:
        own = abs(math.log(told.calibration)) if told.calibration else 0.0
        limit = own + math.log1p(limits.calibration)
        found = window.value("log_r")
        for name, sign in (("over-prediction", 1.0), ("under-prediction", -1.0)):
            seen = math.exp(found), sign * found, 1.0
            yield _judged(window, "log_r", seen, (limit, limits.odds), name)
    if limits.log_loss is not None and told.log_loss and told.reference:
        own = told.log_loss / told.reference
        found = window.value("log_loss")
        seen = found, found / own - 1, own
        yield _judged(window, "log_loss", seen, (limits.log_loss, limits.odds))


def _judged(
    window: _Labelled,
    name: str,
    seen: tuple[float, float, float],
    bounds: tuple[float, float],
    shown: str = "",
) -> Finding:
    """`seen`: the value, its excess over the baseline, by what the statistic is divided in that; `bounds`: the limit
    and the odds."""
    value, excess, unit = seen
    limit, odds = bounds
    taus = CALIBRATION_TAUS if name == "log_r" else DIFFERENCE_TAUS
    variance, nu = window.variance(name)
    deviation = math.sqrt(max(variance, _TINY)) / unit
    info = np.array([1 / deviation**2])
    z = normal_from_t([(excess - limit) / deviation], nu)
    sure = float(log_e(z, info, taus)[0]) >= math.log(odds)
    half = float(t_from_normal(critical_z(info, taus, [math.log(odds)]), nu)[0]) * deviation
    labels = f"{window.sums[:, N].sum():,.0f} labels, {window.sums[:, Y].sum():,.0f} positives"
    span = f"{excess - half:.3g} to {excess + half:.3g}"
    text = f"{value:.4g}, worse by {excess:.3g} ({span}), limit {limit:.3g}; {labels}"
    return Finding(shown or name, window.length, value, excess, limit, sure, excess <= limit, text)


def _drift(
    counts: HealthCounts, place: int, told: TaskBaseline, limit: float, when: tuple[int, int]
) -> Iterator[Finding]:
    now_h, length = when
    hours = [hour for hour in range(now_h - length, now_h) if hour in counts.scores]
    if told.scores is None or told.scores.edges != tuple(counts.told.tolist()) or not hours:
        return
    if min(counts.scores) > now_h - length + 1:
        return  # a part of a day is never like all of it
    live = np.sum([counts.scores[hour][place].astype(np.int64) for hour in hours], axis=0)
    if (rows := int(live.sum())) < LEAST_ROWS:
        return
    apart = float(psi(np.array(told.scores.shares), shares_of(live)))
    chance = (len(live) - 1) * CLUSTER / rows
    text = f"the scores' population stability index is {apart:.3g}, limit {limit + chance:.3g}; {rows:,} answers"
    yield Finding("scores", length, apart, apart, limit + chance, apart > limit + chance, apart <= limit, text)


def _statistic(name: str, hist: Floats, sums: Floats) -> Floats:
    """`hist`: (..., 2, K); `sums`: (..., 5). `log_loss`: as a part of that of always saying the base rate."""
    match name:
        case "auc":
            below = hist[..., 0, :].cumsum(axis=-1) - hist[..., 0, :] / 2
            pairs = hist[..., 0, :].sum(axis=-1) * hist[..., 1, :].sum(axis=-1)
            return np.asarray((hist[..., 1, :] * below).sum(axis=-1) / np.maximum(pairs, _TINY))
        case "log_r":
            return np.asarray(np.log(np.maximum(sums[..., P], _TINY)) - np.log(np.maximum(sums[..., Y], _TINY)))
    rows = np.maximum(sums[..., N], 1.0)
    rate = np.clip(sums[..., Y] / rows, _TINY, 1 - 1e-9)
    entropy = -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate))
    return np.asarray(sums[..., LOSS] / rows / np.maximum(entropy, _TINY))


def _of_rows(name: str, hist: Floats, sums: Floats) -> float:
    """Variance if rows were independent (of the AUC: DeLong 1988, from the histogram)."""
    n, ones = sums[N], sums[Y]
    if name == "auc":
        zeros = n - ones
        below = (hist[0].cumsum() - hist[0] / 2) / zeros
        above = (ones - hist[1].cumsum() + hist[1] / 2) / ones
        area = float((hist[1] * below).sum() / ones)
        v10, v01 = (
            (hist[1] * (below - area) ** 2).sum() / (ones - 1),
            (hist[0] * (above - area) ** 2).sum() / (zeros - 1),
        )
        return float(v10 / ones + v01 / zeros)
    if name == "log_r":
        return float((1 - ones / n) / ones)
    mean = sums[LOSS] / n
    rate = ones / n
    entropy = -(rate * math.log(rate) + (1 - rate) * math.log1p(-rate))
    return float(max(sums[SQUARES] / n - mean**2, 0.0) / n / entropy**2)
