"""What a cell says of a metric: contrasts with their variance, over the groups that are shaken together.

Delete-one-group jackknife for the AUC (pairing, clusters and bins at once), its linear form for the ratios of sums.
Paired and unpaired streams go through the same code: a group is left out on both sides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitors.accumulators import Cell
from monitors.groupings import LOSS, Grouping, N, P, Y

Floats = NDArray[np.float64]
VarianceOver = Callable[[Grouping], Floats]
"""Variance of each of a metric's contrasts, shape (s,), with the groups of one grouping left out in turn."""

MIN_POSITIVES, MIN_GROUPS, MIN_BLOCKS = 30, 15, 5
FIRST_DAYS_FACTOR = 16.0
"""Times the variance over users, as long as no grouping by time has MIN_BLOCKS blocks with positives."""
_LEAST_SUM = 1e-9


@dataclass(frozen=True, slots=True)
class Contrast:
    """One difference between candidate and baseline; positive is worse. `nu`: degrees of freedom of `variance`."""

    value: float
    variance: float
    nu: float


@dataclass(frozen=True, slots=True)
class Reading:
    """A metric of a cell: its contrasts, and each side's own value (AUC, r = sum p / sum y, mean log-loss)."""

    contrasts: tuple[Contrast, ...]
    baseline: float
    candidate: float


def missing(cell: Cell) -> str:
    """What the burn-in still lacks, in words; empty when it is over."""
    positives, rows = cell.sums[:, Y].min(), cell.sums[:, N].min()
    negatives = (cell.sums[:, N] - cell.sums[:, Y]).min()
    if not rows:
        return "no mature label yet"
    if positives < MIN_POSITIVES:
        return f"{positives:.0f} positives, {MIN_POSITIVES} needed"
    if negatives < MIN_POSITIVES:
        return f"{negatives:.0f} negatives, {MIN_POSITIVES} needed"
    if (groups := cell.groupings[0].positive_groups) < MIN_GROUPS:
        return f"positives in {groups} groups of users, {MIN_GROUPS} needed"
    return ""


def auc(counts: Floats) -> Floats:
    """AUC of histograms, shape (..., 2, K) -> (...); a tie within a bin counts half."""
    negatives, positives = counts[..., 0, :], counts[..., 1, :]
    pairs = (positives * (negatives.cumsum(axis=-1) - negatives / 2)).sum(axis=-1)
    return np.asarray(pairs / (negatives.sum(axis=-1) * positives.sum(axis=-1)))


@dataclass(frozen=True, slots=True)
class Ranks:
    """Of pooled histograms, shape (2, 2, K): for each bin, the negatives below it and the positives above it (its own
    count half), shape (2, K, 1); concordant pairs, positives and negatives, shape (2, 1)."""

    below: Floats
    above: Floats
    pairs: Floats
    positives: Floats
    negatives: Floats

    @classmethod
    def of(cls, pooled: Floats) -> Ranks:
        negatives, positives = pooled[:, 0], pooled[:, 1]
        n1, n0 = positives.sum(axis=1, keepdims=True), negatives.sum(axis=1, keepdims=True)
        below = negatives.cumsum(axis=1) - negatives / 2
        above = n1 - positives.cumsum(axis=1) + positives / 2
        return cls(below[:, :, None], above[:, :, None], (positives * below).sum(axis=1, keepdims=True), n1, n0)


def auc_without_each(grouping: Grouping, ranks: Ranks) -> Floats:
    """AUC of both sides with each group left out, shape (2, G). `ranks`: of all groups, in the grouping's bins."""
    hist, sums = grouping.hist, grouping.sums
    lost = (hist[:, 1] @ ranks.below + hist[:, 0] @ ranks.above)[:, :, 0] - grouping.own
    left = (ranks.positives - sums[:, Y]) * (ranks.negatives - (sums[:, N] - sums[:, Y]))
    whole = ranks.pairs / (ranks.positives * ranks.negatives) * np.ones_like(left)
    return np.asarray(np.divide(ranks.pairs - lost, left, out=whole, where=left > 0))


def auc_difference(cell: Cell) -> Reading:
    """AUC baseline - AUC candidate."""
    values = auc(cell.pooled)
    ranks = {bins: Ranks.of(_joined(cell.pooled, bins)) for bins in {g.bins for g in cell.groupings}}

    def variance(grouping: Grouping) -> Floats:
        without = auc_without_each(grouping, ranks[grouping.bins])
        delta = (without[0] - without[1])[grouping.held]
        return np.array([(len(delta) - 1) / len(delta) * np.square(delta - delta.mean()).sum()])

    contrasts = _contrasts(np.array([values[0] - values[1]]), cell, variance)
    return Reading(contrasts, float(values[0]), float(values[1]))


def calibration(cell: Cell) -> Reading:
    """With r = sum p / sum y: log r_B - log r_A (labels cancel when paired) and log r_B + log r_A."""
    predicted = np.maximum(cell.sums[:, P], _LEAST_SUM)
    log_r = np.log(predicted) - np.log(cell.sums[:, Y])

    def variance(grouping: Grouping) -> Floats:
        sums = grouping.sums[:, :, grouping.held]
        influence = sums[:, P] / predicted[:, None] - sums[:, Y] / cell.sums[:, Y, None]
        each = np.stack([influence[1] - influence[0], influence[1] + influence[0]])
        return _linear_jackknife(each)

    contrasts = _contrasts(np.array([log_r[1] - log_r[0], log_r[1] + log_r[0]]), cell, variance)
    return Reading(contrasts, float(np.exp(log_r[0])), float(np.exp(log_r[1])))


def log_loss(cell: Cell) -> Reading:
    """Relative excess of the mean log-loss."""
    mean = cell.sums[:, LOSS] / cell.sums[:, N]
    ratio = mean[1] / mean[0]

    def variance(grouping: Grouping) -> Floats:
        sums = grouping.sums[:, :, grouping.held]
        influence = sums[:, LOSS] / cell.sums[:, LOSS, None] - sums[:, N] / cell.sums[:, N, None]
        return _linear_jackknife(ratio * (influence[1] - influence[0])[None])

    return Reading(_contrasts(np.array([ratio - 1]), cell, variance), float(mean[0]), float(mean[1]))


def _contrasts(values: Floats, cell: Cell, variance: VarianceOver) -> tuple[Contrast, ...]:
    """The largest variance over the groupings that may speak, for each value."""
    users, *times = cell.groupings
    found = [(variance(users), users.positive_groups - 1)]
    ready = [g for g in times if not g.dropped and g.positive_groups >= MIN_BLOCKS]
    if ready:
        found += [(variance(grouping), grouping.positive_groups - 1) for grouping in ready]
    else:
        found = [(FIRST_DAYS_FACTOR * found[0][0], found[0][1])]
    table = np.stack([each for each, _ in found])
    widest = table.argmax(axis=0)
    return tuple(
        Contrast(float(value), float(table[at, i]), float(found[at][1]))
        for i, (value, at) in enumerate(zip(values, widest, strict=True))
    )


def _linear_jackknife(influence: Floats) -> Floats:
    """Variance of statistics whose influence adds up to 0 over the groups, shape (s, G) -> (s,)."""
    groups = influence.shape[1]
    return np.asarray(groups / max(groups - 1, 1) * np.square(influence).sum(axis=1))


def _joined(pooled: Floats, bins: int) -> Floats:
    return np.asarray(pooled.reshape(2, 2, bins, -1).sum(axis=3))
