"""What a task predicts: its kind, its loss, and how a network's raw numbers become an answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from serinus.tasks import LARGEST_LABEL, MAX_CLASSES, TaskKind

__all__ = ["BINARY", "Learnt", "Target"]

RAREST = 1e-4
Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Target:
    """`classes`: names, of a multiclass task; its labels are their places, from 0. `unit`: of a regression's numbers.

    Raises ValueError for a multiclass task without two classes, and for classes or a unit of another kind."""

    kind: TaskKind = "binary"
    classes: tuple[str, ...] = ()
    unit: str = ""

    def __post_init__(self) -> None:
        count = len(set(self.classes))
        if count < len(self.classes) or not (2 <= count <= MAX_CLASSES if self.kind == "multiclass" else count == 0):
            raise ValueError(f"a {self.kind} task cannot have the classes {list(self.classes)[:10]}")
        if self.unit and self.kind != "regression":
            raise ValueError(f"a {self.kind} task has no unit, but it is given {self.unit!r}")

    @property
    def width(self) -> int:
        """How many raw numbers a head gives for a row."""
        return len(self.classes) or 1

    def check(self, task: str, labels: Floats) -> None:
        """Raises ValueError for labels [n] that are neither NaN (no label) nor labels of this kind."""
        known = labels[~np.isnan(labels)]
        match self.kind:
            case "binary":
                if not np.isin(known, (0, 1)).all():
                    raise ValueError(f"the labels of {task!r} must be 0, 1 or NaN (no label)")
            case "regression":
                if not (np.abs(known) <= LARGEST_LABEL).all():
                    raise ValueError(f"the labels of {task!r} must be within {LARGEST_LABEL:g} of 0, or NaN (no label)")
            case "multiclass":
                if not np.isin(known, np.arange(self.width)).all():
                    raise ValueError(f"the labels of {task!r} must be 0 to {self.width - 1} or NaN (no label)")


BINARY = Target()


@dataclass(frozen=True)
class Learnt:
    """A target and what its labels in the training rows say.

    `base_rate`: share of ones, mean, or shares of the classes: what stands in when there is no answer. `scale`: of a
    regression task, the standard deviation: a network learns (label - mean) / scale, whatever the unit."""

    target: Target = BINARY
    base_rate: float | tuple[float, ...] = 0.5
    scale: float = 1.0

    @classmethod
    def of(cls, target: Target, labels: Floats) -> Learnt:
        """From labels [n]; NaN does not count. Without any: equal shares, or 0."""
        known = labels[~np.isnan(labels)].astype(np.float64)
        match target.kind:
            case "binary":
                return cls(target, float(known.mean()) if len(known) else 0.5)
            case "regression":
                spread = float(known.std()) if len(known) else 0.0
                return cls(target, float(known.mean()) if len(known) else 0.0, spread or 1.0)
            case "multiclass":
                counts = np.bincount(known.astype(np.int64), minlength=target.width).astype(np.float64)
                shares = counts / counts.sum() if len(known) else np.full(target.width, 1 / target.width)
                return cls(target, tuple(shares.tolist()))

    def loss(self, raw: Tensor, labels: Tensor) -> Tensor:
        """Mean over rows that all have a label: cross-entropy, or the squared error of the standardised label."""
        match self.target.kind:
            case "binary":
                return binary_cross_entropy_with_logits(raw, labels)
            case "regression":
                return mse_loss(raw, (labels - self._number) / self.scale)
            case "multiclass":
                return cross_entropy(raw, labels.long())

    def answer(self, raw: Tensor) -> Tensor:
        """What is served: probability [n], number [n], or probabilities [n, classes]."""
        match self.target.kind:
            case "binary":
                return torch.sigmoid(raw)
            case "regression":
                return raw * self.scale + self._number
            case "multiclass":
                return torch.softmax(raw, 1)

    def start(self, last: nn.Linear) -> None:
        """Let a head begin at the base rate, so that the first steps are not spent on finding it."""
        match self.target.kind:
            case "binary":
                rate = min(max(self._number, RAREST), 1 - RAREST)
                nn.init.constant_(last.bias, math.log(rate / (1 - rate)))
            case "regression":
                nn.init.zeros_(last.bias)
            case "multiclass":
                assert isinstance(self.base_rate, tuple)
                with torch.no_grad():
                    last.bias.copy_(torch.tensor([math.log(max(share, RAREST)) for share in self.base_rate]))

    @property
    def _number(self) -> float:
        assert isinstance(self.base_rate, float)
        return self.base_rate
