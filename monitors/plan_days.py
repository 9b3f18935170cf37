"""What the allowance for days (monitors/days.py) makes a verdict wait for, beyond its labels. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from monitors.days import DIFFERENCE_DAY_SD, LOSS_DAY_SD, MIN_BLOCKS, RATIO_DAY_SD
from serinus.guards import Metric

__all__ = ["Unseen", "day_sd"]

_SD: dict[Metric, float] = {
    "auc": DIFFERENCE_DAY_SD,
    "early_auc": DIFFERENCE_DAY_SD,
    "top1": DIFFERENCE_DAY_SD,
    "log_loss": LOSS_DAY_SD,
    "loss": LOSS_DAY_SD,
    "calibration": RATIO_DAY_SD,
    "early_ratio": RATIO_DAY_SD,
    "bias": RATIO_DAY_SD,
}
_STEPS = 40


def day_sd(metric: Metric) -> float:
    """What a day is taken to move the difference by; 0 for rates, which have no such allowance."""
    return _SD.get(metric, 0.0)


@dataclass(frozen=True, slots=True)
class Unseen:
    """A verdict comes once `variance` / count + `sd`^2 x (sum of the squares of the days' shares) is at most `limit`,
    the squared excess over J; from the fifth day on the days' part is gone."""

    variance: float
    sd: float
    limit: float

    def until(self, begin: float, count: Callable[[float], float]) -> float:
        """The day by which the allowance no longer stops it, `begin` + 4 at the latest; events come evenly.

        `count`: events seen by a day. What is missing at the fifth day are labels: those are counted elsewhere."""
        last = begin + MIN_BLOCKS - 1
        if self.sd == 0 or not self._enough(last, begin, count):
            return begin if self.sd == 0 else last
        low, high = begin, last
        for _ in range(_STEPS):  # more labels and more days: both parts only fall
            middle = (low + high) / 2
            low, high = (low, middle) if self._enough(middle, begin, count) else (middle, high)
        return high

    def _enough(self, day: float, begin: float, count: Callable[[float], float]) -> bool:
        whole, rest = divmod(day - begin, 1)
        events = count(day)
        if events <= 0 or day <= begin:
            return False
        uneven = (whole + rest * rest) / (whole + rest) ** 2
        return self.variance / events + self.sd**2 * uneven <= self.limit
