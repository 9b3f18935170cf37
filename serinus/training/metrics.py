"""How good answers are, exactly: AUC, log-loss and calibration; squared error and bias; top-1."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from serinus.training.targets import Target

__all__ = ["AnyQuality", "MulticlassQuality", "Quality", "RegressionQuality", "auc", "quality", "quality_of"]

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

    @property
    def ratio(self) -> float | None:
        """Log-loss / reference."""
        return _ratio(self.log_loss, self.reference)

    def as_dict(self) -> dict[str, float | int | None]:
        return asdict(self)


@dataclass(frozen=True)
class RegressionQuality:
    """`loss`: mean squared error. `bias`: mean of prediction - label. `reference`: the loss of always saying the mean.

    `mean`: of the labels."""

    labels: int
    loss: float | None = None
    bias: float | None = None
    mean: float | None = None
    reference: float | None = None

    def __str__(self) -> str:
        return "no labels" if self.loss is None else f"squared error {self.loss:.4g} bias {self.bias:.4g}"

    @property
    def ratio(self) -> float | None:
        """Loss / reference."""
        return _ratio(self.loss, self.reference)

    def as_dict(self) -> dict[str, float | int | None]:
        return asdict(self)


@dataclass(frozen=True)
class MulticlassQuality:
    """`top1`: share of rows whose likeliest class is right. `reference`: the log-loss of always saying the shares."""

    labels: int
    top1: float | None = None
    log_loss: float | None = None
    reference: float | None = None

    def __str__(self) -> str:
        return "no labels" if self.log_loss is None else f"top-1 {self.top1:.4f} log-loss {self.log_loss:.4f}"

    @property
    def ratio(self) -> float | None:
        """Log-loss / reference."""
        return _ratio(self.log_loss, self.reference)

    def as_dict(self) -> dict[str, float | int | None]:
        return asdict(self)


AnyQuality = Quality | RegressionQuality | MulticlassQuality


def _ratio(loss: float | None, reference: float | None) -> float | None:
    return loss / reference if loss is not None and reference else None


def quality_of(target: Target, labels: Floats, answers: Floats) -> AnyQuality:
    """`labels`: [n], NaN: the row does not count; `answers`: as the task gives them, [n] or [n, classes]."""
    if target.kind == "binary":
        return quality(labels, answers)
    known = ~np.isnan(labels)
    y, said = labels[known].astype(np.float64), answers[known].astype(np.float64)
    if target.kind == "regression":
        if not len(y):
            return RegressionQuality(0)
        errors = said - y
        loss, bias = float((errors**2).mean()), float(errors.mean())
        return RegressionQuality(len(y), loss, bias, float(y.mean()), float(y.var()))
    if not len(y):
        return MulticlassQuality(0)
    place = y.astype(np.int64)
    p = np.clip(said[np.arange(len(y)), place], SMALLEST, 1 - SMALLEST)
    shares = np.bincount(place) / len(y)
    reference = float(-np.log(shares[place]).mean())
    return MulticlassQuality(len(y), float((said.argmax(1) == place).mean()), float(-np.log(p).mean()), reference)


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
