"""Evidence that stays valid however often one looks: normal mixtures in log space.

Sources: Howard et al. 2021 (arXiv 1810.08240) for the mixtures, their bounds and the best rho; Waudby-Smith et al.
(arXiv 2103.06476) for their asymptotic use; Wallace 1959 for t -> z; Robbins and Siegmund 1970 for the delayed start.
The guarantee is asymptotic: it was checked by simulation and on real data, not proven for small samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erfcx, log_ndtr
from scipy.stats import chi2

Floats = NDArray[np.float64]

DIFFERENCE_TAUS = (0.01, 0.03, 0.1)
"""Expected sizes of a difference in AUC or of a relative excess of loss."""
CALIBRATION_TAUS = (0.05, 0.15, 0.5)
"""Expected sizes of a difference of log calibration ratios."""
LOG_E_CAP = 200.0
"""e-values are shown up to exp(200), so that they and their sums stay finite in JSON."""


def log_mixture(s: ArrayLike, info: ArrayLike, rho: ArrayLike) -> Floats:
    """ln of the one-sided normal mixture martingale at sum `s` and variance (information) `info`. Broadcasts.

    ln 2 + ln(rho / (info + rho)) / 2 + s^2 / (2 (info + rho)) + ln Phi(s / sqrt(info + rho)), without the
    cancellation that a large negative `s` would bring."""
    s, info, rho = (np.asarray(value, dtype=np.float64) for value in (s, info, rho))
    x = s / np.sqrt(info + rho)
    rising = np.square(np.maximum(x, 0)) / 2 + log_ndtr(np.maximum(x, 0))
    falling = np.log(erfcx(np.maximum(-x, 0) / math.sqrt(2)) / 2)  # = x^2 / 2 + ln Phi(x) for x <= 0
    return np.asarray(math.log(2) + np.log(rho / (info + rho)) / 2 + np.where(x > 0, rising, falling))


def log_mixture_two_sided(s: ArrayLike, info: ArrayLike, rho: ArrayLike) -> Floats:
    """ln of the two-sided normal mixture martingale. Broadcasts."""
    s, info, rho = (np.asarray(value, dtype=np.float64) for value in (s, info, rho))
    return np.asarray(np.log(rho / (info + rho)) / 2 + np.square(s) / (2 * (info + rho)))


def best_rho(info: float, alpha: float, *, two_sided: bool = False) -> float:
    """The rho whose bound at level `alpha` is the tightest near `info`."""
    log_inverse = math.log(1 / (alpha if two_sided else 2 * alpha))
    return info / (2 * log_inverse + math.log(1 + 2 * log_inverse))


def bound(info: float, alpha: float, rho: float) -> float:
    """The sum that the one-sided mixture lets pass with probability at most `alpha`, ever, at this `info`."""
    return _rising_root(lambda s: log_mixture(s, info, rho), math.log(1 / alpha), 100 * math.sqrt(info + rho))


def bound_two_sided(info: float, alpha: float, rho: float) -> float:
    """The same for the absolute value of the sum; closed form."""
    return math.sqrt((info + rho) * (math.log(1 + info / rho) + 2 * math.log(1 / alpha)))


def delayed_start(alpha: float) -> float:
    """a^2 such that a Brownian motion passes sqrt(t (a^2 + ln(t / t0))) at any t >= t0 with probability `alpha`.

    Robbins and Siegmund 1970: 2 (1 - Phi(a) + a phi(a)), which is the upper tail of a chi-square of 3 degrees."""
    return float(chi2.isf(alpha, 3))


def normal_from_t(z: ArrayLike, nu: ArrayLike) -> Floats:
    """The normal score as unlikely as Student's t of `z` with `nu` degrees of freedom (Wallace). Broadcasts."""
    z, nu = np.asarray(z, dtype=np.float64), np.asarray(nu, dtype=np.float64)
    shrink = (8 * nu + 1) / (8 * nu + 3)
    return np.asarray(np.sign(z) * shrink * np.sqrt(nu * np.log1p(np.square(z) / nu)))


def t_from_normal(z: ArrayLike, nu: ArrayLike) -> Floats:
    """The inverse of `normal_from_t`. Broadcasts."""
    z, nu = np.asarray(z, dtype=np.float64), np.asarray(nu, dtype=np.float64)
    stretched = z * (8 * nu + 3) / (8 * nu + 1)
    return np.asarray(np.sign(z) * np.sqrt(nu * np.expm1(np.minimum(np.square(stretched) / nu, 600.0))))


def log_e(z: ArrayLike, info: ArrayLike, taus: ArrayLike) -> Floats:
    """ln of the mean over `taus` of the one-sided mixtures at S = z sqrt(info).

    `z`: standard normal scores, shape (n,); `info`: 1 / variance, (n,); `taus`: (n, T) or (T,). Returns (n,)."""
    z, info = np.asarray(z, dtype=np.float64), np.asarray(info, dtype=np.float64)
    rho = np.square(1 / np.asarray(taus, dtype=np.float64))
    each = log_mixture((z * np.sqrt(info))[..., None], info[..., None], rho)
    most = each.max(axis=-1)
    return np.asarray(most + np.log(np.exp(each - most[..., None]).mean(axis=-1)))


def critical_z(info: ArrayLike, taus: ArrayLike, log_limit: ArrayLike) -> Floats:
    """The z at which `log_e` reaches `log_limit`, by bisection, shape (n,). It gives the interval shown to people.

    A one-sided mixture lies between one and two times the two-sided one, and a mean of T between the largest and a
    T-th of it: that brackets the root."""
    info, log_limit = np.asarray(info, dtype=np.float64), np.asarray(log_limit, dtype=np.float64)
    ratio = np.square(1 / np.asarray(taus, dtype=np.float64)) / info[..., None]
    grown = np.log1p(1 / ratio) + 2 * log_limit[..., None]
    low, high = (
        np.sqrt(np.maximum((1 + ratio) * (grown + 2 * shift), 0)).min(axis=-1)
        for shift in (-math.log(2), math.log(ratio.shape[-1]))
    )
    for _ in range(20):
        middle = (low + high) / 2
        below = log_e(middle, info, taus) < log_limit
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.asarray((low + high) / 2)


def shown(log_value: ArrayLike) -> Floats:
    """e from ln e, capped so that it stays finite."""
    return np.asarray(np.exp(np.minimum(np.asarray(log_value, dtype=np.float64), LOG_E_CAP)))


def _rising_root(function: Callable[[float], Floats], target: float, high: float) -> float:
    low = 0.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if float(function(middle)) < target else (low, middle)
    return (low + high) / 2
