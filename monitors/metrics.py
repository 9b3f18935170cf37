"""What a cell says of a metric: contrasts with their variance, over the groups that are shaken together.

Delete-one-group jackknife for the AUC (pairing, clusters and bins at once), its linear form for the ratios of sums.
Paired and unpaired streams go through the same code: a group is left out on both sides. All windows at once: shapes
end with R, the windows of `monitors.windows`, of which the first is from the start.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitors.days import DIFFERENCE_DAY_SD, LOSS_DAY_SD, MIN_BLOCKS, RATIO_DAY_SD, unseen
from monitors.groupings import LOSS, SQ, N, P, Y
from monitors.sequential import CALIBRATION_TAUS, DIFFERENCE_TAUS
from monitors.windows import Groups, Windows
from serinus.guards import Metric

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Influence = Callable[[Floats], Floats]
"""Sums of groups, shape (R or 1, 2, C, G) -> what each adds to each of a metric's contrasts, shape (s, R, G)."""

MIN_POSITIVES, MIN_GROUPS = 30, 15
FIRST_DAYS_FACTOR = 16.0
"""Times the variance over users, as long as no grouping by time has MIN_BLOCKS blocks with positives."""
NIL_VARIANCE = 1e-12
"""Below it two models are the same but for rounding."""
_LEAST_SUM = 1e-9


@dataclass(frozen=True, slots=True)
class Reading:
    """A metric of a cell. `value`, `variance`, `nu` (degrees of freedom): of its contrasts, candidate against baseline,
    positive is worse, shape (s, R); `ready`: windows past their burn-in, shape (R,).

    `two_sided`: too low is as bad as too high. Bad is a side of which all contrasts are beyond the margin.
    `baseline`, `candidate`: each side's own value, from the start."""

    value: Floats
    variance: Floats
    nu: Floats
    ready: Mask
    taus: tuple[float, float, float]
    two_sided: bool
    baseline: float
    candidate: float


def auc(counts: Floats) -> Floats:
    """AUC of histograms, shape (..., 2, K) -> (...); a tie within a bin counts half."""
    negatives, positives = counts[..., 0, :], counts[..., 1, :]
    pairs = (positives * (negatives.cumsum(axis=-1) - negatives / 2)).sum(axis=-1)
    return np.asarray(pairs / (negatives.sum(axis=-1) * positives.sum(axis=-1)))


def auc_without_each(groups: Groups, pooled: Floats) -> Floats:
    """AUC of both sides with each group left out, shape (R, 2, G). `pooled`: of all, shape (R, 2, 2, K), in the groups'
    bins. What a pair in two groups adds is counted from `pooled`, what a pair within a group adds is `own`."""
    negatives, positives = pooled[:, :, 0], pooled[:, :, 1]
    n1, n0 = positives.sum(axis=2)[:, :, None], negatives.sum(axis=2)[:, :, None]
    below = negatives.cumsum(axis=2) - negatives / 2
    above = n1 - positives.cumsum(axis=2) + positives / 2
    pairs = (positives * below).sum(axis=2)[:, :, None]
    of_negatives, of_positives = groups.hist[:, :, 0], groups.hist[:, :, 1]
    if len(groups.hist) == len(pooled) > 1:
        lost = (of_positives @ below[..., None] + of_negatives @ above[..., None])[..., 0]
    else:  # the same groups in every window: one product for all
        lost = (of_positives[0] @ below.transpose(1, 2, 0) + of_negatives[0] @ above.transpose(1, 2, 0)).transpose(
            2, 0, 1
        )
    lost = lost - groups.own
    left = (n1 - of_positives.sum(axis=3)) * (n0 - of_negatives.sum(axis=3))
    whole = pairs / (n1 * n0) * np.ones_like(left)
    return np.asarray(np.divide(pairs - lost, left, out=whole, where=left > 0))


def auc_difference(windows: Windows) -> Reading:
    """AUC baseline - AUC candidate."""
    values = auc(windows.pooled)
    coarse = windows.users.hist.sum(axis=3)

    def variance(groups: Groups) -> Floats:
        without = auc_without_each(groups, coarse)
        held = groups.held
        count = held.sum(axis=1)
        delta = (without[:, 0] - without[:, 1]) * held
        centred = (delta - delta.sum(axis=1, keepdims=True) / count[:, None]) * held
        return np.asarray(((count - 1) / count * np.square(centred).sum(axis=1))[None])

    return _reading(
        windows, (values[:, 0] - values[:, 1])[None], variance, values[0], labelled=True, day_sd=DIFFERENCE_DAY_SD
    )


def calibration(windows: Windows) -> Reading:
    """With r = sum p / sum y: log r_B - log r_A (labels cancel when paired) and log r_B + log r_A."""
    log_r, influence = _log_ratios(windows)
    values = np.stack([log_r[:, 1] - log_r[:, 0], log_r[:, 1] + log_r[:, 0]])

    def both(sums: Floats) -> Floats:
        each = influence(sums)
        return np.stack([each[:, 1] - each[:, 0], each[:, 1] + each[:, 0]])

    own = np.exp(log_r[0])
    return _reading(windows, values, _linear(both), own, labelled=True, two_sided=True, day_sd=RATIO_DAY_SD)


def early_ratio(windows: Windows) -> Reading:
    """log r_B - log r_A on labels that came early, whose r alone say nothing: any change counts."""
    log_r, influence = _log_ratios(windows)

    def change(sums: Floats) -> Floats:
        each = influence(sums)
        return (each[:, 1] - each[:, 0])[None]

    values = (log_r[:, 1] - log_r[:, 0])[None]
    own = np.exp(log_r[0])
    return _reading(windows, values, _linear(change), own, labelled=True, two_sided=True, day_sd=RATIO_DAY_SD)


def mean_loss(windows: Windows, *, labelled: bool) -> Reading:
    """Relative excess of the mean loss."""
    totals = windows.totals
    mean = totals[:, :, LOSS] / totals[:, :, N]
    ratio = mean[:, 1] / mean[:, 0]

    def influence(sums: Floats) -> Floats:
        each = sums[:, :, LOSS] / totals[:, :, LOSS, None] - sums[:, :, N] / totals[:, :, N, None]
        return (ratio[:, None] * (each[:, 1] - each[:, 0]))[None]

    value = (ratio - 1)[None]
    return _reading(windows, value, _linear(influence), mean[0], labelled=labelled, day_sd=LOSS_DAY_SD)


def top1(windows: Windows) -> Reading:
    """Share of right answers, baseline - candidate."""
    totals = windows.totals
    share = totals[:, :, Y] / totals[:, :, N]

    def influence(sums: Floats) -> Floats:
        each = (sums[:, :, Y] - share[:, :, None] * sums[:, :, N]) / totals[:, :, N, None]
        return (each[:, 0] - each[:, 1])[None]

    values = (share[:, 0] - share[:, 1])[None]
    return _reading(windows, values, _linear(influence), share[0], labelled=True, day_sd=DIFFERENCE_DAY_SD)


def bias(windows: Windows) -> Reading:
    """Mean error b in units of the baseline's root mean square error: b_B - b_A and b_B + b_A, as for calibration."""
    totals = windows.totals
    scale = np.sqrt(totals[:, 0, LOSS] / totals[:, 0, N])
    error = (totals[:, :, P] - totals[:, :, Y]) / totals[:, :, N] / scale[:, None]
    values = np.stack([error[:, 1] - error[:, 0], error[:, 1] + error[:, 0]])

    def influence(sums: Floats) -> Floats:
        rows = sums[:, :, N] / totals[:, :, N, None]
        off = (sums[:, :, P] - sums[:, :, Y]) / totals[:, :, N, None] / scale[:, None, None]
        drift = (sums[:, 0, LOSS] / totals[:, 0, LOSS, None] - rows[:, 0])[:, None] / 2
        each = off - error[:, :, None] * (rows + drift)
        return np.stack([each[:, 1] - each[:, 0], each[:, 1] + each[:, 0]])

    return _reading(windows, values, _linear(influence), error[0], labelled=False, two_sided=True, day_sd=RATIO_DAY_SD)


def shift(windows: Windows) -> Reading:
    """log of the ratio of mean predictions, candidate to baseline; too low is as bad as too high."""
    totals = windows.totals
    mean = totals[:, :, P] / totals[:, :, N]

    def influence(sums: Floats) -> Floats:
        each = sums[:, :, P] / totals[:, :, P, None] - sums[:, :, N] / totals[:, :, N, None]
        return (each[:, 1] - each[:, 0])[None]

    values = np.log(mean[:, 1] / mean[:, 0])[None]
    # it only holds the ramp, and that at once: no allowance for days
    return _reading(windows, values, _linear(influence), mean[0], labelled=False, two_sided=True, day_sd=0.0)


def agreement(windows: Windows) -> Reading:
    """Root mean square of the difference in logits, or of a regression in spreads of the baseline's predictions."""
    squares, rows = windows.totals[:, 1, SQ], windows.totals[:, 1, N]
    size = np.sqrt(squares / rows)

    def influence(sums: Floats) -> Floats:
        each = sums[:, 1, SQ] - np.square(size)[:, None] * sums[:, 1, N]
        return np.asarray(each / np.maximum(2 * size * rows, _LEAST_SUM)[:, None])[None]

    own = np.array([0.0, size[0]])
    terms = _linear(influence), own
    return _reading(windows, size[None], *terms, labelled=False, taus=CALIBRATION_TAUS, day_sd=0.0)


def read(metric: Metric, windows: Windows, *, probabilities: bool) -> Reading:
    """The reading of a metric that is tested. `probabilities`: the losses are of labels 0 and 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if metric in ("log_loss", "loss"):
            return mean_loss(windows, labelled=probabilities)
        return _READINGS[metric](windows)


_READINGS: dict[Metric, Callable[[Windows], Reading]] = {
    "auc": auc_difference,
    "early_auc": auc_difference,
    "calibration": calibration,
    "early_ratio": early_ratio,
    "top1": top1,
    "bias": bias,
    "shift": shift,
    "agreement": agreement,
}
BY_ROWS: frozenset[Metric] = frozenset({"loss", "bias", "shift", "agreement", "psi", "js"})
"""Metrics whose burn-in counts rows, for they have no positives."""


def burnt_in(windows: Windows, *, labelled: bool) -> Mask:
    """Windows with enough of everything, shape (R,)."""
    groups = windows.users.with_events(Y if labelled else N)
    return np.asarray((windows.events(labelled=labelled) >= MIN_POSITIVES) & (groups >= MIN_GROUPS))


def _log_ratios(windows: Windows) -> tuple[Floats, Influence]:
    """log (sum p / sum y) of both sides, shape (R, 2), and its influence, shape (R, 2, G)."""
    predicted = np.maximum(windows.totals[:, :, P], _LEAST_SUM)
    positives = windows.totals[:, :, Y]

    def influence(sums: Floats) -> Floats:
        return np.asarray(sums[:, :, P] / predicted[:, :, None] - sums[:, :, Y] / positives[:, :, None])

    return np.log(predicted) - np.log(positives), influence


def _linear(influence: Influence) -> Callable[[Groups], Floats]:
    """The jackknife of statistics whose influence adds up to 0 over the groups."""

    def variance(groups: Groups) -> Floats:
        count = groups.held.sum(axis=1)
        squares = np.square(influence(groups.sums) * groups.held).sum(axis=2)
        return np.asarray(count / np.maximum(count - 1, 1) * squares)

    return variance


def _reading(
    windows: Windows,
    value: Floats,
    variance: Callable[[Groups], Floats],
    own: Floats,
    *,
    labelled: bool,
    two_sided: bool = False,
    taus: tuple[float, float, float] | None = None,
    day_sd: float,
) -> Reading:
    """Each contrast with the largest variance over the groupings that may speak, and what unseen days may add."""
    column = Y if labelled else N
    by_user, free = variance(windows.users), windows.users.with_events(column)
    blocks = [groups.with_events(column) for groups in windows.times]
    speaks = [found >= MIN_BLOCKS for found in blocks]
    timed = np.any(speaks, axis=0) if speaks else np.zeros(len(free), np.bool_)
    table = [np.where(timed, by_user, FIRST_DAYS_FACTOR * by_user)]
    table += [
        np.where(may, variance(groups), -np.inf) for may, groups in zip(speaks, windows.times, strict=True) if may.any()
    ]
    freedom = [free, *(found for may, found in zip(speaks, blocks, strict=True) if may.any())]
    widest = np.argmax(table, axis=0)
    chosen = np.take_along_axis(np.stack(table), widest[None], axis=0)[0]
    nu = np.take_along_axis(np.stack(freedom)[:, None], widest[None], axis=0)[0] - 1
    chosen = np.where(chosen < NIL_VARIANCE, chosen, chosen + unseen(windows, column, day_sd))
    ready = burnt_in(windows, labelled=labelled) & np.isfinite(value).all(axis=0) & np.isfinite(chosen).all(axis=0)
    scale = taus or (CALIBRATION_TAUS if two_sided else DIFFERENCE_TAUS)
    return Reading(value, chosen, nu, ready, scale, two_sided, float(own[0]), float(own[1]))
