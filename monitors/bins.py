"""Score bins, frozen once per version and task from the first scores of event time.

Half of the edges are quantiles, half are even in logit up to p = .9975: quantiles alone fail when a storm puts every
score into the top bin, a fixed grid fails when a candidate changes its scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BINS_OVERALL, BINS_SLICE, BINS_GROUP = 256, 128, 64
"""Bins of the pooled histograms (everybody, one slice) and of the groups that only give a variance."""
_TOP, _BOTTOM = 0.9975, 1e-6


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

    def of(self, scores: Floats) -> Ints:
        """The bin of each score, 0 to BINS_OVERALL - 1; a score on an edge belongs to the bin above it."""
        return np.searchsorted(self.edges, scores, side="right").astype(np.int64)


def coarser(bins: Ints, count: int) -> Ints:
    """Bins of `BINS_OVERALL` joined to `count` bins."""
    return bins // (BINS_OVERALL // count)
