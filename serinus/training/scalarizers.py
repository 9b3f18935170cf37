"""From one loss per task to the one number that is minimised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from serinus.training.targets import Learnt

__all__ = ["FixedWeights", "Scalarizer", "UncertaintyWeights", "masked_losses"]


BINARY = Learnt()


def masked_losses(
    logits: Mapping[str, Tensor], labels: Mapping[str, Tensor], targets: Mapping[str, Learnt] | None = None
) -> dict[str, Tensor]:
    """task -> mean loss over the rows that have a label (not NaN); a task without any is left out.

    `targets`: what the tasks predict; binary where it says nothing."""
    found = {}
    for task, logit in logits.items():
        known = ~torch.isnan(labels[task])
        if known.any():
            found[task] = (targets or {}).get(task, BINARY).loss(logit[known], labels[task][known])
    return found


class Scalarizer(Protocol):
    """A description; `build` gives the module, with the parameters it learns, that maps losses to a scalar."""

    def build(self, tasks: Sequence[str]) -> nn.Module: ...


class _Fixed(nn.Module):
    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.weights = dict(weights)

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([self.weights[task] * loss for task, loss in losses.items()]).sum()


@dataclass(frozen=True)
class FixedWeights:
    """sum w_t L_t; a task without a weight has 1."""

    weights: Mapping[str, float] = field(default_factory=dict)

    def build(self, tasks: Sequence[str]) -> nn.Module:
        if unknown := self.weights.keys() - set(tasks):
            raise ValueError(f"a weight is given for {min(unknown)!r}, which is not one of the tasks {list(tasks)}")
        return _Fixed({task: float(self.weights.get(task, 1.0)) for task in tasks})


class _Uncertainty(nn.Module):
    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__()
        self.at = {task: at for at, task in enumerate(tasks)}
        self.log_variance = nn.Parameter(torch.zeros(len(tasks)))

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        terms = []
        for task, loss in losses.items():
            s = self.log_variance[self.at[task]]
            terms.append(torch.exp(-s) * loss + s / 2)
        return torch.stack(terms).sum()


@dataclass(frozen=True)
class UncertaintyWeights:
    """sum exp(-s_t) L_t + s_t / 2 with learnt s_t = log sigma_t^2 (Kendall, Gal and Cipolla 2018, arXiv 1705.07115).

    A task that has no label in a batch adds neither term."""

    def build(self, tasks: Sequence[str]) -> nn.Module:
        return _Uncertainty(tasks)
