"""What is shown and not tested: calibration error, precision-recall area, and how far two distributions of predictions
are apart. From the pooled histograms of a cell, from the start. A guard may still say from where on it holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitors.groupings import Y
from monitors.windows import Windows
from serinus.guards import Metric

Floats = NDArray[np.float64]

ECE_BINS, DRIFT_BINS = 16, 16
_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Displayed:
    """`estimate`: how much worse the candidate is, or how far apart they are; each side's own value, if it has one."""

    estimate: float
    baseline: float | None = None
    candidate: float | None = None


def ece(windows: Windows) -> Displayed:
    """Expected calibration error: |mean p - share of positives| by bin, weighted by rows, in bins of equal p's range
    of the frozen ones. Biased upwards where rows are few: the same for both sides of a paired stream."""
    counts = windows.pooled[0].reshape(2, 2, ECE_BINS, -1).sum(axis=3)
    said = windows.curve.reshape(2, ECE_BINS, -1).sum(axis=2)
    each = np.abs(said - counts[:, 1]).sum(axis=1) / counts.sum(axis=(1, 2))
    return Displayed(float(each[1] - each[0]), float(each[0]), float(each[1]))


def pr_auc(windows: Windows) -> Displayed:
    """Average precision; rows of one bin are taken together, as scikit-learn does with equal scores."""
    from_top = windows.pooled[0][:, :, ::-1].cumsum(axis=2)
    hits, taken = from_top[:, 1], from_top.sum(axis=1)
    precision = np.divide(hits, taken, out=np.zeros_like(hits), where=taken > 0)
    gained = np.diff(hits, axis=1, prepend=0.0) / hits[:, -1:]
    each = (precision * gained).sum(axis=1)
    return Displayed(float(each[0] - each[1]), float(each[0]), float(each[1]))


def psi(windows: Windows) -> Displayed:
    """Population stability index of the candidate's predictions against the baseline's, half a row added to a bin."""
    p, q = _shares(windows)
    return Displayed(float(((q - p) * np.log(q / p)).sum()))


def js(windows: Windows) -> Displayed:
    """Jensen-Shannon divergence, in bits: 0 for the same distribution, 1 for two that never meet."""
    p, q = _shares(windows)
    middle = (p + q) / 2
    return Displayed(float(sum((each * np.log2(each / middle)).sum() for each in (p, q)) / 2))


def _shares(windows: Windows) -> tuple[Floats, Floats]:
    """Both sides' rows by bin of the baseline's scores, as shares."""
    counts = windows.pooled[0].sum(axis=1).reshape(2, DRIFT_BINS, -1).sum(axis=2) + _HALF
    p, q = counts / counts.sum(axis=1, keepdims=True)
    return p, q


DISPLAYED: dict[Metric, Callable[[Windows], Displayed]] = {"ece": ece, "pr_auc": pr_auc, "psi": psi, "js": js}
NEEDS_POSITIVES: frozenset[Metric] = frozenset({"ece", "pr_auc"})


def lacks_label(metric: Metric, windows: Windows) -> bool:
    """True when the metric cannot be computed for want of one of the two labels."""
    rows = windows.totals[0, :, 0]
    positives = windows.totals[0, :, Y]
    return metric in NEEDS_POSITIVES and bool((np.minimum(positives, rows - positives) <= 0).any())
