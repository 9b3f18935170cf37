"""What the answers of a task look like, whatever computes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from serinus.tasks import TaskSpec

__all__ = ["SUM_TOLERANCE", "faults_of", "scale_of"]

SUM_TOLERANCE = 1e-3
"""How far the probabilities of a row's classes may be from 1 together: they are float32, and there may be many."""


def faults_of(task: TaskSpec, found: npt.NDArray[Any]) -> str:
    """What is wrong with the values of an answer of the right shape; "" when nothing is."""
    low, high = found.min(initial=np.inf), found.max(initial=-np.inf)
    if task.kind == "regression":
        return "" if np.isfinite(found).all() else f"{low} to {high}, expected finite numbers"
    if not (low >= 0 and high <= 1):  # also where one is NaN
        return f"{low} to {high}, expected 0 to 1"
    if task.kind == "multiclass":
        sums = found.sum(axis=1, dtype=np.float64)
        if not np.abs(sums - 1).max() <= SUM_TOLERANCE:
            return f"rows that sum to {sums.min():.6g} to {sums.max():.6g}, expected 1"
    return ""


def scale_of(task: TaskSpec, said: npt.NDArray[Any]) -> float:
    """What a difference between two answers is measured in: 1 for probabilities; the largest number for others.

    So 1e-4 of a price in cents is not asked to be as exact as 1e-4 of a probability."""
    return max(1.0, float(np.abs(said).max(initial=0.0))) if task.kind == "regression" else 1.0
