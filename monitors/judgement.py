"""From contrasts to e-values and intervals, for many cells and windows at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitors.metrics import NIL_VARIANCE, Reading
from monitors.sequential import LOG_E_CAP, critical_z, log_e, normal_from_t, shown, t_from_normal

Floats = NDArray[np.float64]

_SUREST_Z = 20.0


@dataclass(frozen=True, slots=True)
class Judged:
    """`violated`: e-values against "no worse than the margin", from the start and since each restart, shape (R,);
    `e_satisfied`: against "worse than the margin", from the start; the estimate from the start and its interval."""

    violated: Floats
    e_satisfied: float
    estimate: float
    low: float
    high: float


def judge(readings: Sequence[tuple[Reading, float]], alpha: float) -> list[Judged]:
    """Judge each (reading, margin on the scale of its contrasts).

    The interval has level 1 - alpha at all looks together, half on each side; a two-sided metric's is a little wider.
    Of a metric with several sides and contrasts: violated needs all contrasts of a side (their minimum tests the union
    of the nulls), and is the mean over the sides; satisfied needs every side, of which any contrast would do."""
    if not readings:
        return []
    entries = [_entries(reading, margin) for reading, margin in readings]
    flat = np.concatenate([each.reshape(-1, 7) for each in entries])
    log_violated, log_satisfied = log_e_values(flat)
    violated, satisfied = shown(log_violated), shown(log_satisfied)
    first = np.concatenate([np.ravel(_from_start(each.shape[:3])) for each in entries])
    bounds = np.repeat(
        [4.0 if reading.two_sided else 2.0 for reading, _ in readings], [e[..., 0, 0].size for e in entries]
    )
    halves = half_widths(flat[first], alpha, bounds)
    judged, at, start = [], 0, 0
    for (reading, _), each in zip(readings, entries, strict=True):
        shape, size = each.shape[:3], each[..., 0].size
        part = slice(at, at + size)
        at += size
        e = np.where(reading.ready, violated[part].reshape(shape).min(axis=1).mean(axis=0), 0.0)
        value = each[:, :, 0, 0]
        half = halves[start : start + value.size].reshape(value.shape)
        start += value.size
        judged.append(
            Judged(
                violated=e,
                e_satisfied=float(satisfied[part].reshape(shape)[:, :, 0].mean(axis=1).min()),
                estimate=float(value.min(axis=1).max()),
                low=float((value - half).min(axis=1).max()),
                high=float((value + half).min(axis=1).max()),
            )
        )
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


def half_widths(entries: Floats, alpha: float, bounds: Floats) -> Floats:
    """Distance from the value to the margins at which the e-value reaches the level's limit, shape (n,). `bounds`: how
    many must hold at once, shape (n,)."""
    variance, nu, taus = np.maximum(entries[:, 2], NIL_VARIANCE), np.maximum(entries[:, 3], 1), entries[:, 4:]
    z = critical_z(1 / variance, taus, np.log(bounds / alpha))
    return np.asarray(t_from_normal(z, nu) * np.sqrt(variance))


def _entries(reading: Reading, margin: float) -> Floats:
    """Rows for `log_e_values`, shape (sides, s, R, 7); a window within its burn-in gets harmless ones."""
    signs = (1.0, -1.0) if reading.two_sided else (1.0,)
    table = np.empty((len(signs), *reading.value.shape, 7))
    value, variance = np.where(reading.ready, reading.value, 0.0), np.where(reading.ready, reading.variance, 1.0)
    for at, sign in enumerate(signs):
        table[at, ..., 0], table[at, ..., 1], table[at, ..., 2], table[at, ..., 3] = (
            sign * value,
            margin,
            variance,
            reading.nu,
        )
    table[..., 4:] = reading.taus
    return table


def _from_start(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    chosen = np.zeros(shape, np.bool_)
    chosen[..., 0] = True
    return chosen
