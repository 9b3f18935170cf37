"""Score bins and units, frozen once per version and task from the first scores of event time.

Half of the edges are quantiles, half are even in logit up to p = .9975: quantiles alone fail when a storm puts every
score into the top bin, a fixed grid fails when a candidate changes its scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BINS_OVERALL, BINS_SLICE, BINS_GROUP = 256, 128, 64
"""Bins of the pooled histograms (everybody, one slice) and of the groups that only give a variance."""
_TOP, _BOTTOM = 0.9975, 1e-6
_SHIFT = 41
"""A float64 without its last bits: steps of 1/2,048 of a power of two, about even in the logarithm."""
_MANY, _MOST_STEPS = 1_024, 1 << 17


@dataclass(frozen=True, slots=True)
class Bins:
    """`edges`: rising scores, shape (BINS_OVERALL - 1,). Coarser bins join neighbours, so they are nested."""

    edges: Floats

    @classmethod
    def freeze(cls, scores: Floats) -> Bins:
        """Edges from a sample of probabilities, in any order; at least one score."""
        half = BINS_OVERALL // 2
        quantiles = np.quantile(scores, np.arange(1, half + 1) / (half + 1))
        start = min(float(np.quantile(scores, 0.005)), 0.5)
        even = expit(np.linspace(logit(max(start, _BOTTOM)), logit(_TOP), BINS_OVERALL - 1 - half))
        return cls(np.sort(np.concatenate([quantiles, even])))

    @classmethod
    def quantiles(cls, values: Floats) -> Bins:
        """Edges from a sample of numbers that are no probabilities."""
        return cls(np.quantile(values, np.arange(1, BINS_OVERALL) / BINS_OVERALL))

    def of(self, scores: Floats) -> Ints:
        """The bin of each score, 0 to BINS_OVERALL - 1; a score on an edge belongs to the bin above it."""
        if len(scores) < _MANY or (steps := _steps(self.edges.tobytes())) is None:
            return np.searchsorted(self.edges, scores, side="right").astype(np.int64)
        first, bin_of = steps
        plain = scores + 0.0  # no -0.0, whose bits are those of a number below all others
        found: Ints = bin_of[np.clip((plain.view(np.int64) >> _SHIFT) - first, 0, len(bin_of) - 1)]
        doubt = np.flatnonzero(found < 0)
        found[doubt] = np.searchsorted(self.edges, plain[doubt], side="right")
        return found


@lru_cache(maxsize=512)
def _steps(edges: bytes) -> tuple[int, Ints] | None:
    """The bin of each step of numbers, from step `first` on, -1 where an edge lies in it: a look-up is many times
    faster than a search. None where there are numbers below 0, or too many steps."""
    known = np.frombuffer(edges, np.float64)
    if not known[0] >= 0:
        return None
    at = (known + 0.0).view(np.int64) >> _SHIFT
    first = int(at[0]) - 1
    size = int(at[-1]) - first + 2
    if not 0 < size <= _MOST_STEPS:
        return None
    bin_of = np.searchsorted(at - first, np.arange(size)).astype(np.int64)
    bin_of[at - first] = -1
    return first, bin_of


@dataclass(frozen=True, slots=True)
class Frame:
    """What is frozen of a task: bins of the baseline's and of the candidate's scores, and units of a regression.

    `unit`: a power of two at least as large as 99 % of the values and predictions: sums are of multiples of it;
    `spread`: standard deviation of the baseline's predictions. Both 1 for probabilities."""

    a: Bins
    b: Bins
    unit: float = 1.0
    spread: float = 1.0

    @classmethod
    def of_probabilities(cls, a: Floats, b: Floats) -> Frame:
        return cls(Bins.freeze(a), Bins.freeze(b))

    @classmethod
    def of_numbers(cls, a: Floats, b: Floats, y: Floats) -> Frame:
        """`y`: values, NaN where they are not known."""
        sizes = np.abs(np.concatenate([a, b, y]))
        large = float(np.quantile(sizes[np.isfinite(sizes)], 0.99))
        unit = 2.0 ** math.ceil(math.log2(large)) if large > 0 else 1.0
        return cls(Bins.quantiles(a), Bins.quantiles(b), unit, float(np.sort(a).std()) or unit)


def coarser(bins: Ints, count: int) -> Ints:
    """Bins of `BINS_OVERALL` joined to `count` bins."""
    return bins // (BINS_OVERALL // count)
