"""Rates of failure in two arms: an exact e-value, segment by segment of the exposure.

Given that one failure happened, it is the candidate's with probability pi(r) = f r / (f r + 1 - f), where `f` is the
candidate's share of the exposure and `r` the ratio of the rates. Counts of (user, minute), so a burst counts once.
Source: Lindon et al., rapid regression detection (arXiv 2205.14762).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

Floats = NDArray[np.float64]

RATE_RATIOS = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
QUIET_EXPOSURE = 300
"""Minutes of users in each arm without any failure that satisfy: by the rule of three, the rate is below 1 %."""


def log_e_two_arms(
    candidate: ArrayLike, baseline: ArrayLike, share: ArrayLike, k: float, *, rising: bool = True
) -> float:
    """ln e against "the candidate's failure rate is at most k times the baseline's" (`rising`), else "at least".

    `candidate`, `baseline`: failures per segment, shape (s,); `share`: the candidate's share of the exposure of each
    segment, strictly between 0 and 1. The mean is over the rate ratios, the product over segments inside each."""
    b, a, f = (np.atleast_1d(np.asarray(value, dtype=np.float64)) for value in (candidate, baseline, share))
    ratios = np.asarray(RATE_RATIOS)[:, None]
    odds = k * f / (1 - f)
    moved = odds * (ratios if rising else 1 / ratios)
    hit = np.log(moved / (1 + moved)) - np.log(odds / (1 + odds))
    miss = np.log1p(odds) - np.log1p(moved)
    return float(logsumexp((b * hit + a * miss).sum(axis=1)) - math.log(len(RATE_RATIOS)))


@dataclass(slots=True)
class FailureCounts:
    """Failures of one task in one slice: canary against control.

    `segments`: rows (share of the candidate, its failures, the baseline's), shape (s, 3): one a tick that had any;
    `exposure`, `failures`: totals by arm (baseline, candidate), in minutes of users."""

    segments: Floats = field(default_factory=lambda: np.zeros((0, 3)))
    exposure: Floats = field(default_factory=lambda: np.zeros(2))
    failures: Floats = field(default_factory=lambda: np.zeros(2))
    changed: bool = field(default=True, compare=False)

    def add(self, exposure: Floats, failures: Floats) -> None:
        """One tick's counts by arm (baseline, candidate). A tick in which only one arm was seen says nothing."""
        self.changed = True
        self.exposure = self.exposure + exposure
        self.failures = self.failures + failures
        if failures.sum() and exposure.min() > 0:
            row = [exposure[1] / exposure.sum(), failures[1], failures[0]]
            self.segments = np.vstack([self.segments, row])

    def merge(self, other: FailureCounts) -> FailureCounts:
        """Both, as if seen one after the other; segments in a fixed order, whoever comes first."""
        rows = np.vstack([self.segments, other.segments])
        ordered = rows[np.lexsort(rows.T)]
        return FailureCounts(ordered, self.exposure + other.exposure, self.failures + other.failures)

    def log_e(self, k: float, *, rising: bool = True) -> float:
        """ln e against "at most k times" (`rising`), or "at least k times"; 0 without a failure."""
        share, candidate, baseline = self.segments.T
        return log_e_two_arms(candidate, baseline, share, k, rising=rising) if len(share) else 0.0

    def interval(self, log_limit: float) -> tuple[float, float] | None:
        """The log rate ratios that the e-values do not exclude; None without a failure. Bisection on the margin."""
        if not len(self.segments):
            return None
        sides = []
        for rising in (True, False):
            excluded, kept = (-8.0, 12.0) if rising else (12.0, -8.0)
            for _ in range(30):
                middle = (excluded + kept) / 2
                if self.log_e(math.exp(middle), rising=rising) >= log_limit:
                    excluded = middle
                else:
                    kept = middle
            sides.append(excluded)
        return sides[0], sides[1]

    def log_ratio(self) -> float | None:
        """ln of the ratio of rates, half a failure added to each arm; None when an arm was not seen."""
        if not self.exposure.min() > 0:
            return None
        rates = (self.failures + 0.5) / (self.exposure + 0.5)
        return float(np.log(rates[1] / rates[0]))

    @property
    def quiet(self) -> bool:
        """True when neither arm failed, in an exposure that would have shown it."""
        return not self.failures.any() and bool(self.exposure.min() >= QUIET_EXPOSURE)
