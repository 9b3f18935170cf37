"""What a label says of a prediction, row by row, for each kind of task. Pure."""

from __future__ import annotations

from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from serinus.tasks import LARGEST_LABEL, MAX_CLASSES, TaskKind

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

NONE = np.zeros((0, 0), np.float32)
SMALLEST = 1e-7
"""A probability counts as no nearer to 0 and 1 than this: one sure and wrong answer must not decide everything."""


def valid_labels(kind: TaskKind, values: Floats) -> Mask:
    """Which values can be labels of such a task. Which classes it has, the answers say: see `judged`."""
    match kind:
        case "binary":
            return np.isin(values, (0.0, 1.0))
        case "regression":
            return np.abs(values) <= LARGEST_LABEL  # False for NaN
        case "multiclass":
            return np.asarray((values >= 0) & (values < MAX_CLASSES) & (np.floor(values) == values))
    assert_never(kind)


def judged(kind: TaskKind, label: Floats, value: Floats, shares: NDArray[np.float32]) -> tuple[Floats, Floats, Floats]:
    """(y, p, loss) of `monitors.rows.Scored`, each of shape (n,), `loss` empty for binary tasks.

    `label`: NaN where it is not known: y and loss are NaN there, and p is what was said: the probability, the number
    or the probability of the likeliest class. `shares`: of multiclass tasks the probabilities of the classes, shape
    (n, most classes), NaN behind a row's last one. All three are NaN where the label is a class that the model lacks
    or no probabilities are there."""
    match kind:
        case "binary":
            return label, value, np.zeros(0)
        case "regression":
            return label, value, (value - label) ** 2
        case "multiclass":
            return _multiclass(label, value, shares)
    assert_never(kind)


def _multiclass(label: Floats, value: Floats, shares: NDArray[np.float32]) -> tuple[Floats, Floats, Floats]:
    """Log-loss of the true class; top-1: the first of the likeliest classes is the true one."""
    known = np.isfinite(label)
    y, loss = np.full((2, len(label)), np.nan)
    p = np.where(known, np.nan, value)
    if shares.shape[1]:
        place = np.where(known, label, 0).astype(np.int64)
        there = known & (place < shares.shape[1])
        rows = np.flatnonzero(there)
        p[rows] = shares[rows, place[rows]]
        right = np.argmax(np.where(np.isnan(shares), -1, shares), axis=1) == place
        fine = there & np.isfinite(p)
        y[fine] = right[fine]
        loss[fine] = -np.log(np.clip(p[fine], SMALLEST, 1 - SMALLEST))
    return y, p, loss
