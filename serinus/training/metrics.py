"""How good probabilities are: AUC, log-loss and calibration, exactly."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Quality", "auc", "quality"]

Floats = npt.NDArray[np.floating[Any]]
SMALLEST = 1e-7


@dataclass(frozen=True)
class Quality:
    """Of one task on the rows that have a label; None where there is nothing to tell it.

    `calibration`: sum p / sum y. `log_loss`: mean, nats. `reference`: the log-loss of always saying the base rate."""

    labels: int
    positives: int
    auc: float | None
    log_loss: float | None
    calibration: float | None
    reference: float | None

    def __str__(self) -> str:
        shown = {"AUC": self.auc, "log-loss": self.log_loss, "calibration": self.calibration}
        return " ".join(f"{name} {value:.4f}" for name, value in shown.items() if value is not None) or "no labels"

    def as_dict(self) -> dict[str, float | int | None]:
        return asdict(self)


def auc(labels: Floats, scores: Floats) -> float | None:
    """Probability that a positive scores above a negative, ties half; None unless both are there."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2
    positives = int(labels.sum())
    pairs = positives * (len(labels) - positives)
    return float((rank[place][labels == 1].sum() - positives * (positives + 1) / 2) / pairs) if pairs else None


def quality(labels: Floats, probabilities: Floats) -> Quality:
    """`labels`: [n], 0, 1 or NaN (such rows do not count); `probabilities`: [n]."""
    known = ~np.isnan(labels)
    y, p = labels[known].astype(np.float64), probabilities[known].astype(np.float64)
    if not len(y):
        return Quality(0, 0, None, None, None, None)
    positives = int(y.sum())
    return Quality(
        labels=len(y),
        positives=positives,
        auc=auc(y, p),
        log_loss=_log_loss(y, p),
        calibration=float(p.sum() / positives) if positives else None,
        reference=_log_loss(y, np.full(len(y), y.mean())),
    )


def _log_loss(y: Floats, p: Floats) -> float:
    safe = np.clip(p, SMALLEST, 1 - SMALLEST)
    return float(-(y * np.log(safe) + (1 - y) * np.log1p(-safe)).mean())
