"""Guards: what is tested of which task, for whom, how far it may fall, and what follows from it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from serinus.tasks import Name, TaskKind, Word

__all__ = [
    "BY_KIND",
    "DEFAULT_MARGINS",
    "EARLY",
    "FAMILIES",
    "HOLDING",
    "SHOWN",
    "SLICE_AUC_MARGIN",
    "CellSpec",
    "Guard",
    "Horizon",
    "Metric",
    "Role",
    "family_share",
]

Metric = Literal[
    "auc",
    "calibration",
    "log_loss",
    "loss",
    "bias",
    "top1",
    "failures",
    "latency",
    "early_auc",
    "early_ratio",
    "shift",
    "agreement",
    "ece",
    "pr_auc",
    "psi",
    "js",
]
Horizon = Literal["mature", "early"]
Role = Literal["required", "optional", "hold", "display"]
"""required: promotion waits for it; optional: it may roll back; hold: while it is violated the ramp stops and somebody
is told, but it never rolls back; display: shown, decides nothing."""

EARLY: frozenset[Metric] = frozenset({"early_auc", "early_ratio"})
"""On labels as of `early_window_s`: they may roll back, never promote."""
HOLDING: frozenset[Metric] = frozenset({"shift", "agreement"})
"""Without any label: they hold, and never roll back."""
SHOWN: frozenset[Metric] = frozenset({"ece", "pr_auc", "psi", "js"})
"""Triggers only where an SLA gives them a role of their own (`hold`)."""
_ALWAYS: frozenset[Metric] = frozenset({"failures", "latency"})
_BINARY: frozenset[Metric] = frozenset({"auc", "calibration", "log_loss"})
_REGRESSION: frozenset[Metric] = frozenset({"loss", "bias", "psi", "js"})
_MULTICLASS: frozenset[Metric] = frozenset({"log_loss", "top1", "psi", "js"})
BY_KIND: dict[TaskKind, frozenset[Metric]] = {
    "binary": _BINARY | EARLY | HOLDING | SHOWN | _ALWAYS,
    "regression": _REGRESSION | HOLDING | _ALWAYS,
    "multiclass": _MULTICLASS | _ALWAYS,
}
FAMILIES: tuple[tuple[float, frozenset[Metric]], ...] = (
    (0.45, frozenset({"auc", "loss", "top1"})),
    (0.25, frozenset({"calibration", "bias"})),
    (0.20, frozenset({"failures", "latency"})),
    (0.05, frozenset({"log_loss"})),
    (0.05, EARLY),
)
"""Weights of families of metrics in the sum that decides; a family that a model lacks leaves its weight to the rest."""
DEFAULT_MARGINS: dict[Metric, float] = {
    "auc": 0.01,
    "calibration": 0.1,
    "log_loss": 0.05,
    "loss": 0.02,
    "bias": 0.1,
    "top1": 0.01,
    "failures": 0.5,
    "latency": 0.5,
    "early_auc": 0.03,
    "early_ratio": 0.1,
    "shift": 0.25,
    "agreement": 2.0,
}
SLICE_AUC_MARGIN = 0.03


class Guard(Word):
    """Task x metric x margin, for everybody or (`by`) for each value of a slice.

    `margin`: auc: how much lower it may be (absolute); calibration: factor - 1 by which sum p / sum y may be further
    from 1; log_loss, loss: factor - 1; bias: how much further from 0 the mean error may be, in units of the baseline's
    root mean square error; top1: absolute; failures, latency: factor - 1 on the rate of failed, or of slow, answers,
    canary against control; early_auc, early_ratio: as auc and calibration; shift: factor - 1 on the mean prediction;
    agreement: root mean square of the difference in logits.
    `weight`: of the guard's cells together, in the sum that decides; None: from `FAMILIES`. `dry_run`: it is judged
    and shown; that it would have rolled back is said once, and nothing is done. It takes no weight from the others."""

    task: Name
    metric: Metric
    margin: Annotated[float, Field(ge=0, le=10)]
    by: str | None = None
    role: Role = "required"
    weight: Annotated[float, Field(gt=0, le=1)] | None = None
    dry_run: bool = False


class CellSpec(Word):
    """One thing that is tested: a guard, for everybody (`slice` = "overall") or one value (`origin=EWR`).

    `weight`: of one in dry run: what it would have if all that are in dry run decided."""

    task: str
    slice: str
    metric: Metric
    margin: float
    role: Role
    weight: float
    dry_run: bool = False

    @property
    def horizon(self) -> Horizon:
        return "early" if self.metric in EARLY else "mature"

    @property
    def name(self) -> str:
        return f"{self.task} / {self.slice} / {self.metric}"


def family_share(guard: Guard, guards: list[Guard]) -> float:
    """A family's weight, half to its overall guards and half to its sliced ones, equally within each."""
    weight, metrics = next((weight, metrics) for weight, metrics in FAMILIES if guard.metric in metrics)
    family = [other for other in guards if other.metric in metrics and other.weight is None]
    alike = [other for other in family if (other.by is None) == (guard.by is None)]
    half = 0.5 if len(alike) < len(family) else 1.0
    return weight * half / len(alike)
