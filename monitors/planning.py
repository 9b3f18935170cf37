"""How many labels a verdict needs: the planning formula, and the variances that it is fed with. Pure.

    n = v J(alpha) / excess^2        median count until an e-value passes 1/alpha (simulated; within a third)

`v`: variance of the metric's estimate, times the count (of positives, for AUC the page calls it kappa). Users drawn one
by one: real traffic is shaken as a whole, and needed `SHOCKS` times as many on flights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitors.plan_days import Unseen
from serinus.guards import Metric

__all__ = [
    "Need",
    "Schedule",
    "Spread",
    "count_needed",
    "excess_limit",
    "failures_needed",
    "j_of",
    "kappa_of",
    "kappa_unpaired",
    "spread_of",
]

Floats = NDArray[np.float64]

SHOCKS = (4.0, 7.0)
BURN_IN = 30
RESTARTS = 0.5
"""Half of a cell's e-value is spread over restarts, for regressions that begin late."""
_J = ((0.05, 6.1), (0.0125, 9.1), (0.005, 11.0), (0.001, 14.5), (1e-4, 19.3))
_KAPPA = ((0.8, 0.027), (0.95, 0.0071), (0.99, 0.0016))
_KAPPA_UNPAIRED, _KAPPA_BASE_RATE = 0.120, 0.02
_RATIOS = 7
LEAST_POSITIVES = 100
"""Below it the variances are those of the page, not those of the sample."""


def j_of(alpha: float) -> float:
    """J at any level below a half, by straight lines in ln(1/alpha) through the simulated ones."""
    at = [math.log(1 / known) for known, _ in _J]
    return _line(math.log(1 / alpha), at, [value for _, value in _J])


def kappa_of(correlation: float | None, base_rate: float) -> float:
    """kappa of the AUC's difference per positive, paired at this correlation of scores; None: unpaired.

    By straight lines of the logarithms through the simulated ones; a larger base rate leaves fewer negatives to each
    positive, and their part of the variance (Hanley and McNeil) grows."""
    scale = (1 - _KAPPA_BASE_RATE) / max(1 - base_rate, 1e-3)
    if correlation is None:
        return _KAPPA_UNPAIRED * scale
    at = [math.log(1 - known) for known, _ in reversed(_KAPPA)]
    values = [math.log(value) for _, value in reversed(_KAPPA)]
    found = math.exp(_line(math.log(max(1 - correlation, 1e-4)), at, values))
    return min(found, _KAPPA_UNPAIRED) * scale


def kappa_unpaired(p: Floats, y: Floats) -> float | None:
    """The same from a sample of scores: twice DeLong's variance times the positives; None with too few of them."""
    positives, negatives = np.sort(p[y > 0]), np.sort(p[y <= 0])
    if min(len(positives), len(negatives)) < LEAST_POSITIVES:
        return None
    v10 = np.var(_placed(positives, negatives))
    v01 = np.var(_placed(negatives, positives))
    return float(2 * (v10 + v01 * len(positives) / len(negatives)))


def _placed(these: Floats, among: Floats) -> Floats:
    below = np.searchsorted(among, these, side="left") + np.searchsorted(among, these, side="right")
    return np.asarray(below / (2 * len(among)))


def count_needed(variance: float, alpha: float, excess: float) -> float:
    """Median count until an e-value passes 1/alpha, the burn-in at least; infinite for what is no excess."""
    return max(float(BURN_IN), variance * j_of(alpha) / excess**2) if excess > 0 else math.inf


def excess_limit(alpha: float, excess: float) -> float:
    """How large the variance of an estimate may be for a verdict: the formula, solved for v / n."""
    return excess**2 / j_of(alpha)


def failures_needed(ratio: float, margin_ratio: float, alpha: float) -> float:
    """Failures of both arms, equally large, until the two-arm e-value passes 1/alpha at this rate ratio.

    Its logarithm grows by the divergence of the shares; the mixture over seven ratios costs at most ln 7."""
    share, margin_share = ratio / (1 + ratio), margin_ratio / (1 + margin_ratio)
    if share == margin_share:
        return math.inf
    grows = share * math.log(share / margin_share) + (1 - share) * math.log((1 - share) / (1 - margin_share))
    return (math.log(1 / alpha) + math.log(_RATIOS)) / grows


@dataclass(frozen=True, slots=True)
class Spread:
    """Variance times count, for rolling back and for promoting; of positives or else (`per_positive` False) of labels.

    `halves`: e-values that are averaged, so that each needs so many times the limit. `measured`: from a sample."""

    rollback: float
    promote: float
    per_positive: bool
    halves: float = 1.0
    measured: bool = False


def spread_of(
    metric: Metric, margin: float, *, paired: float | None, base_rate: float, sample: tuple[Floats, Floats]
) -> Spread:
    """The variance of a metric's estimate. `paired`: correlation of the scores, None for a canary; `sample`: scores and
    labels of stable, empty where nothing is logged (then by rough priors: a calibrated model that explains a tenth)."""
    p, y = sample
    apart = 2 * (1 - paired) if paired is not None else 2.0
    measured = len(y) > 0 and min((y > 0).sum(), (y <= 0).sum()) >= LEAST_POSITIVES
    if metric in ("auc", "early_auc"):
        own = kappa_unpaired(p, y) if measured else None
        kappa = kappa_of(paired, base_rate)
        if own is not None:
            kappa = own * (kappa / kappa_of(None, base_rate))
        return Spread(kappa, kappa, per_positive=True, measured=own is not None)
    if metric in ("calibration", "early_ratio"):
        brier = float(np.mean((p - y) ** 2)) if measured else 0.9 * base_rate * (1 - base_rate)
        spread = float(np.var(p)) if measured else 0.1 * base_rate * (1 - base_rate)
        own = 2 * brier / base_rate
        if paired is None:
            return Spread(own, own, per_positive=True, halves=2.0, measured=bool(measured))
        return Spread(2 * own, apart * spread / base_rate, per_positive=True, halves=2.0, measured=bool(measured))
    if metric in ("log_loss", "loss"):
        squared = _cv_squared(p, y, base_rate, measured=bool(measured)) if metric == "log_loss" else 2.0
        both = apart + margin**2 if paired is not None else 1 + (1 + margin) ** 2
        return Spread(
            squared * both, squared * both, per_positive=False, measured=bool(measured and metric == "log_loss")
        )
    if metric == "bias":
        return Spread(4.0 if paired is not None else 2.0, apart, per_positive=False)
    right = float(np.mean(y)) if measured else 0.8
    return Spread(apart * right * (1 - right), apart * right * (1 - right), per_positive=False, measured=bool(measured))


def _cv_squared(p: Floats, y: Floats, base_rate: float, *, measured: bool) -> float:
    """Squared coefficient of variation of the log-loss; without a sample that of always saying the base rate, but a
    half at least: a model's losses differ even where both labels are as likely."""
    if measured:
        q = np.clip(p, 1e-7, 1 - 1e-7)
        loss = -np.where(y > 0, np.log(q), np.log1p(-q))
        return float(np.var(loss) / np.mean(loss) ** 2)
    losses, shares = -np.log([base_rate, 1 - base_rate]), np.array([base_rate, 1 - base_rate])
    mean = float(losses @ shares)
    return max(0.5, float(np.square(losses) @ shares / mean**2 - 1))


@dataclass(frozen=True, slots=True)
class Schedule:
    """Which share of the requests a stream sees: from `starts` (days, rising) on the share of the same place."""

    starts: tuple[float, ...]
    shares: tuple[float, ...]

    @property
    def first(self) -> float:
        """The day on which it sees anything."""
        return next((start for start, share in zip(self.starts, self.shares, strict=True) if share > 0), math.inf)

    def seen(self, days: float) -> float:
        """Days of whole traffic that are seen until then."""
        ends = (*self.starts[1:], math.inf)
        return math.fsum(
            share * max(0.0, min(days, end) - start)
            for start, end, share in zip(self.starts, ends, self.shares, strict=True)
        )

    def until(self, whole: float) -> float:
        """The day by which so many days of whole traffic are seen."""
        ends = (*self.starts[1:], math.inf)
        for start, end, share in zip(self.starts, ends, self.shares, strict=True):
            if share > 0 and whole <= share * (end - start):
                return start + whole / share if whole > 0 else 0.0
            whole -= share * (end - start)
        return math.inf


@dataclass(frozen=True, slots=True)
class Need:
    """So many positives, labels or failures, and the event time until they are there (days): users one by one, and
    with shocks as large as on flights."""

    count: float
    days: tuple[float, float]

    @classmethod
    def of(
        cls,
        count: float,
        per_day: float,
        schedule: Schedule,
        delay_days: float,
        *,
        least: float = 0.0,
        unseen: Unseen | None = None,
    ) -> Need:
        """`per_day`: of the whole traffic; `least`: days of whole traffic before anything can be said; `unseen`: what
        the allowance for days waits for."""
        low, high = (
            _later(times, schedule.until(max(times * count / per_day if per_day > 0 else math.inf, least)),
                   per_day, schedule, unseen) + delay_days
            for times in (1.0, SHOCKS[1])
        )  # fmt: skip
        return cls(count, (low, high))

    @property
    def plain(self) -> dict[str, object]:
        """For JSON; None is never."""
        return {
            "count": _finite(self.count),
            "days": [_finite(day) for day in self.days],
        }


def _later(times: float, day: float, per_day: float, schedule: Schedule, unseen: Unseen | None) -> float:
    if unseen is None or not math.isfinite(day):
        return day
    return max(day, unseen.until(schedule.first, lambda at: per_day * schedule.seen(at) / times))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _line(x: float, at: Sequence[float], values: Sequence[float]) -> float:
    """Straight lines through the points (`at` rises), the outer ones go on."""
    place = min(max(int(np.searchsorted(at, x)), 1), len(at) - 1)
    slope = (values[place] - values[place - 1]) / (at[place] - at[place - 1])
    return values[place - 1] + slope * (x - at[place - 1])
