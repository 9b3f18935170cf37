"""What whole days may do to a difference of two models before enough of them were seen to tell.

A storm moves all users of a day at once, and no grouping within that day can know: from one day there is one sample of
it, however many rows it has. So until days speak for themselves each is taken to have moved the difference by a
standard deviation fixed here: about the middle, on a log scale, of what real traffic did; the losses' is a guess.
"""

from __future__ import annotations

import numpy as np

from monitors.windows import Floats, Windows

MIN_BLOCKS = 5
"""Blocks with positives that a grouping by time needs to speak."""
DIFFERENCE_DAY_SD, LOSS_DAY_SD, RATIO_DAY_SD = 0.01, 0.02, 0.1
"""Of a difference of AUCs or of shares, of a relative excess of loss, of a difference of log ratios."""


def unseen(windows: Windows, column: int, sd: float) -> Floats:
    """Variance to be added, shape (R,): `sd` squared times the sum of the squares of the days' shares of the events (a
    column that is not 0), in the arm where they are less even. 0 once MIN_BLOCKS days speak for themselves."""
    if not windows.times:
        return np.full(len(windows.totals), sd * sd)
    days = windows.times[-1]  # the widest; it is never dropped
    events = days.sums[:, :, column] * days.held[:, None]
    total = np.maximum(events.sum(axis=2, keepdims=True), 1)
    uneven = np.square(events / total).sum(axis=2).max(axis=1)
    return np.asarray(np.where(days.with_events(column) < MIN_BLOCKS, sd * sd * uneven, 0.0))
