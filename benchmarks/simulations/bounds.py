"""Exact limits for a probability of which `count` of `of` trials are known. Source: Clopper and Pearson 1934."""

from __future__ import annotations

from scipy.stats import beta

__all__ = ["at_least", "at_most", "between"]

LEVEL = 0.95


def at_most(count: int, of: int, level: float = LEVEL) -> float:
    """The largest probability under which so few still happen with probability 1 - `level`; 1 without a trial."""
    return 1.0 if count >= of else float(beta.ppf(level, count + 1, of - count))


def at_least(count: int, of: int, level: float = LEVEL) -> float:
    """The smallest probability under which so many still happen with probability 1 - `level`; 0 without a trial."""
    return 0.0 if count <= 0 else float(beta.ppf(1 - level, count, of - count + 1))


def between(count: int, of: int, level: float = LEVEL) -> tuple[float, float]:
    """Both at once, each with half of 1 - `level`."""
    half = (1 + level) / 2
    return at_least(count, of, half), at_most(count, of, half)
