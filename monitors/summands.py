"""Rows as what cells add up: their columns, and both sides in one batch. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from monitors.groupings import COLUMNS, exactly
from monitors.rows import Scored

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

USERS_OVERALL, USERS_SLICE = 64, 32
LEAST_P = 1e-7
_SQUARES_STEP = 2.0**16
_MOST, _MOST_SQUARE = 2.0**6, 2.0**12
"""Numbers of a regression count up to so many units, their squares up to so many squared ones."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of both sides that enter cells together. `user`: entity hash mod USERS_OVERALL; `side`, `label`: 0 or 1;
    `columns`: shape (C, n), the first of COLUMNS; `bins`: of BINS_OVERALL, shape (n,), or empty; the rest of shape
    (n,)."""

    event_ms: Ints
    user: Ints
    side: Ints
    label: Ints
    columns: Floats
    bins: Ints
    slices: Ints
    entity: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.side)

    @classmethod
    def of(cls, a: Scored, b: Scored, columns: Floats, rows: Scored | None = None) -> Batch:
        """`columns`: of `columns_of`, both sides, as many as the cells have; `rows`: both sides, if at hand."""
        rows = Scored.concat([a, b]) if rows is None else rows
        side = np.repeat(np.arange(2), [len(a), len(b)])
        user = (rows.entity % np.uint64(USERS_OVERALL)).astype(np.int64)
        label = (rows.y > 0).astype(np.int64)
        return cls(rows.event_ms, user, side, label, columns, np.zeros(0, np.int64), rows.slices, rows.entity)

    def with_bins(self, bins: Ints) -> Batch:
        return replace(self, bins=bins)

    def take(self, which: NDArray[np.bool_] | Ints) -> Batch:
        bins = self.bins[which] if len(self.bins) else self.bins
        parts = (self.event_ms[which], self.user[which], self.side[which], self.label[which], self.columns[:, which])
        return Batch(*parts, bins, self.slices[which], self.entity[which])


def columns_of(
    a: Scored,
    b: Scored,
    *,
    unit: float = 1.0,
    spread: float = 0.0,
    wanted: int = COLUMNS,
    rows: Scored | None = None,
) -> Floats:
    """Rows, y, p, losses (nats; p kept 1e-7 from 0 and 1) and squared differences, both sides: the first `wanted` of
    them, shape (wanted, n).

    A y that is not known counts 0, and so does its loss. `spread`: 0: probabilities, whose differences are of logits;
    else numbers: y and p in `unit`, losses in its square, differences in `spread`. Differences only of paired rows."""
    rows = Scored.concat([a, b]) if rows is None else rows
    known = np.isfinite(rows.y)
    y = np.where(known, rows.y, 0.0)
    p = rows.p
    if spread:
        y, p = (np.clip(values / unit, -_MOST, _MOST) for values in (y, p))
    columns = np.empty((wanted, len(rows)))
    makers: tuple[Callable[[], Floats], ...] = (
        lambda: np.ones(len(rows)),
        lambda: exactly(y),
        lambda: exactly(p),
        lambda: exactly(_losses(rows, known, y, unit if spread else 0.0)),
        lambda: exactly(_differences(a, b, spread), _SQUARES_STEP),
    )
    for column, make in zip(columns, makers[:wanted], strict=True):
        column[:] = make()
    return columns


def _losses(rows: Scored, known: NDArray[np.bool_], y: Floats, unit: float) -> Floats:
    """Of each row, 0 where y is not known. `unit`: of numbers, 0 for probabilities."""
    if not known.any():
        return np.zeros(len(rows))
    if unit:
        loss = np.minimum(rows.loss / unit**2, _MOST_SQUARE) if len(rows.loss) else np.zeros(len(rows))
    elif len(rows.loss):
        loss = rows.loss
    else:
        safe = np.clip(rows.p, LEAST_P, 1 - LEAST_P)
        loss = -np.log1p(-safe)
        positives = np.flatnonzero(y > 0)
        loss[positives] = -np.log(safe[positives])
    return np.where(known, loss, 0.0)


def _differences(a: Scored, b: Scored, spread: float) -> Floats:
    """Squared, at the second side of paired rows."""
    squares = np.zeros(len(a) + len(b))
    if len(a) == len(b) and np.array_equal(a.event_ms, b.event_ms) and np.array_equal(a.entity, b.entity):
        squares[len(a) :] = np.minimum(_squares(a, b, spread), _MOST_SQUARE)
    return squares


def _squares(a: Scored, b: Scored, spread: float) -> Floats:
    if spread:
        return np.square((b.p - a.p) / spread)
    first, second = (logit(np.clip(rows.p, LEAST_P, 1 - LEAST_P)) for rows in (a, b))
    return np.square(second - first)
