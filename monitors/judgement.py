"""From contrasts to e-values and intervals, for many cells at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitors.metrics import Reading
from monitors.sequential import (
    CALIBRATION_TAUS,
    DIFFERENCE_TAUS,
    LOG_E_CAP,
    critical_z,
    log_e,
    normal_from_t,
    shown,
    t_from_normal,
)

Floats = NDArray[np.float64]

NIL_VARIANCE = 1e-12
"""Below it two models are the same but for rounding."""
_SUREST_Z = 20.0


@dataclass(frozen=True, slots=True)
class Judged:
    """e-values against "no worse than the margin" and against "worse than the margin"; the estimate's interval."""

    e_violated: float
    e_satisfied: float
    estimate: float
    low: float
    high: float


def judge(readings: Sequence[tuple[Reading, float]], alpha: float) -> list[Judged]:
    """Judge each (reading, margin on the scale of its contrasts). A reading of two contrasts is a calibration.

    The interval has level 1 - alpha at all looks together, half on each side; a calibration's is a little wider."""
    entries = [_entries(reading, margin) for reading, margin in readings]
    flat = np.array([row for rows in entries for row in rows], dtype=np.float64).reshape(-1, 7)
    log_violated, log_satisfied = log_e_values(flat)
    halves = half_widths(flat, alpha)
    judged, at = [], 0
    for rows in entries:
        part = slice(at, at + len(rows))
        at += len(rows)
        single = len(rows) == 1
        combine = _difference if single else _two_sided_ratio
        judged.append(combine(flat[part, 0], halves[part], shown(log_violated[part]), shown(log_satisfied[part])))
    return judged


def log_e_values(entries: Floats) -> tuple[Floats, Floats]:
    """ln e_violated and ln e_satisfied of (value, margin, variance, nu, three taus), shape (n, 7) -> (n,), (n,).

    No variance: the same model twice is not violated, and satisfied; a difference beyond the margin counts as one of
    20 standard errors."""
    value, margin, variance, nu = entries[:, :4].T
    excess = value - margin
    nil = variance < NIL_VARIANCE
    floor = np.maximum(np.square(excess / _SUREST_Z), NIL_VARIANCE)
    kept = np.where(nil, floor, variance)
    z = normal_from_t(excess / np.sqrt(kept), np.maximum(nu, 1))
    violated, satisfied = (log_e(sign * z, 1 / kept, entries[:, 4:]) for sign in (1, -1))
    same = nil & (excess <= 0)
    return np.where(same, -np.inf, violated), np.where(same, LOG_E_CAP, satisfied)


def half_widths(entries: Floats, alpha: float) -> Floats:
    """Distance from the value to the margins at which the e-value reaches the level's limit, shape (n,)."""
    variance, nu, taus = np.maximum(entries[:, 2], NIL_VARIANCE), np.maximum(entries[:, 3], 1), entries[:, 4:]
    sides = np.where(taus[:, 0] == CALIBRATION_TAUS[0], 4.0, 2.0)  # bounds that must hold at once
    z = critical_z(1 / variance, taus, np.log(sides / alpha))
    return np.asarray(t_from_normal(z, nu) * np.sqrt(variance))


def _entries(reading: Reading, margin: float) -> list[tuple[float, ...]]:
    if len(reading.contrasts) == 1:
        only = reading.contrasts[0]
        return [(only.value, margin, only.variance, only.nu, *DIFFERENCE_TAUS)]
    return [
        (sign * each.value, margin, each.variance, each.nu, *CALIBRATION_TAUS)
        for sign in (1, -1)
        for each in reading.contrasts
    ]


def _difference(value: Floats, half: Floats, violated: Floats, satisfied: Floats) -> Judged:
    estimate, width = float(value[0]), float(half[0])
    return Judged(float(violated[0]), float(satisfied[0]), estimate, estimate - width, estimate + width)


def _two_sided_ratio(value: Floats, half: Floats, violated: Floats, satisfied: Floats) -> Judged:
    """|log r_B| - |log r_A| from its four parts: over-prediction (two), under-prediction (two).

    Violated: a side needs both of its parts (their minimum tests the union of the nulls); the mean over the sides.
    Satisfied: neither side may be worse (minimum over sides); within a side either part would do (mean)."""
    sides = (slice(0, 2), slice(2, 4))
    return Judged(
        e_violated=float(np.mean([violated[side].min() for side in sides])),
        e_satisfied=float(min(satisfied[side].mean() for side in sides)),
        estimate=float(max(value[side].min() for side in sides)),
        low=float(max((value - half)[side].min() for side in sides)),
        high=float(max((value + half)[side].min() for side in sides)),
    )
