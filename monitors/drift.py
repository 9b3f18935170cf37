"""How far one distribution over bins is from another: population stability index, Jensen-Shannon, quantiles.

Both divergences are of shares with half a row added to every bin of what was counted, and at least FLOOR in each bin:
an empty bin is no infinite difference. Lin 1991 (Jensen-Shannon); the index is the symmetric sum of Kullback-Leibler.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["FLOOR", "jensen_shannon", "psi", "quantiles", "shares_of"]

Floats = NDArray[np.float64]

FLOOR = 1e-4


def shares_of(counts: ArrayLike) -> Floats:
    """Shares of counts, half a row more in each bin; along the last axis."""
    more = np.asarray(counts, np.float64) + 0.5
    return np.asarray(more / more.sum(axis=-1, keepdims=True))


def psi(p: ArrayLike, q: ArrayLike) -> Floats:
    """Population stability index, sum (p - q) ln(p / q), along the last axis. `p`, `q`: shares; broadcasts."""
    p, q = _floored(p), _floored(q)
    return np.asarray(((p - q) * np.log(p / q)).sum(axis=-1))


def jensen_shannon(p: ArrayLike, q: ArrayLike) -> Floats:
    """Jensen-Shannon divergence in bits, 0 (equal) to 1 (apart), along the last axis. `p`, `q`: shares; broadcasts."""
    p, q = _floored(p), _floored(q)
    middle = (p + q) / 2
    both = (p * np.log2(p / middle)).sum(axis=-1) + (q * np.log2(q / middle)).sum(axis=-1)
    return np.asarray(np.clip(both / 2, 0.0, 1.0))


def quantiles(counts: ArrayLike, edges: ArrayLike, low: float, high: float, at: ArrayLike) -> Floats:
    """Quantiles of counted numbers, even within each bin. `counts`: (B,); `edges`: (B - 1,), rising; the outer bins end
    at `low` and `high`. NaN without a count."""
    counts, inner = np.asarray(counts, np.float64), np.asarray(edges, np.float64)
    at = np.asarray(at, np.float64)
    if not counts.sum():
        return np.full(at.shape, np.nan)
    bounds = np.maximum.accumulate(np.concatenate([[low], inner, [high]]))
    below = np.concatenate([[0.0], np.cumsum(counts)]) / counts.sum()
    return np.asarray(np.interp(at, below, bounds))


def _floored(shares: ArrayLike) -> Floats:
    lifted = np.maximum(np.asarray(shares, np.float64), FLOOR)
    return np.asarray(lifted / lifted.sum(axis=-1, keepdims=True))
