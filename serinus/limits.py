"""What an SLA says of raw inputs and of the health of what is stable: how far they may be from `baseline.json`.

inputs:                       # an input that is not named has the defaults of `InputLimits`
  temperature: {stale_s: 14400}                     # hourly: the same values for four hours are an old feed
  month:       {psi: null, out_of_range: null}      # moves with the calendar: no check of its distribution
  referrer:    {role: display}
health: {auc: 0.05, calibration: 0.2}
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from serinus.tasks import Word

__all__ = ["HealthLimits", "InputLimits"]

Share = Annotated[float, Field(ge=0, le=1)]
Index = Annotated[float, Field(gt=0, le=100)]


class InputLimits(Word):
    """How far one raw input may be from what the package's baseline saw, for everybody and in each listed slice.

    None: that is not checked. Shares of rows, each above the baseline's own:
    `missing`: without a value; `unseen`: with a text that the baseline had not; `out_of_range`: outside its least and
    greatest number by more than a tenth of their distance; `unknown`: with a text that is in no vocabulary of a
    version's preprocessing, for each version that the rollout compares. They are judged over the newest hours of event
    time that hold `min_rows` rows, at most a day of them; with fewer rows nothing is said.

    `psi`: population stability index against the baseline's bins, and `js`: Jensen-Shannon divergence (bits, 0 to 1),
    over the newest day: one hour of a day is never like all of them. A baseline that wandered itself raises the limit
    to three times as far as its own days were from the whole.

    `stale_s`: for so long may more than half of the rows have values that are all still the same; None: twice as long
    as in the baseline, where that was made with event times and the input moved there; else it is not checked.

    `role`: hold: a limit that is passed stops the ramp and raises an alert; display: it is shown, and alerts nobody."""

    missing: Share | None = 0.02
    unseen: Share | None = 0.01
    out_of_range: Share | None = 0.01
    unknown: Share | None = 0.02
    psi: Index | None = 0.25
    js: Annotated[float, Field(gt=0, le=1)] | None = None
    stale_s: Annotated[int, Field(ge=3_600, le=86_400)] | None = None
    min_rows: Annotated[int, Field(ge=50, le=1_000_000)] = 500
    role: Literal["hold", "display"] = "hold"


class HealthLimits(Word):
    """How far the stable version may fall behind its own baseline before somebody is told. Alerts only.

    Judged per task, for everybody and in each listed slice, over the newest hour, day and week of event time.
    None: that is not checked.

    `auc`: how much lower (absolute). `calibration`: factor - 1 by which sum p / sum y may be further from 1.
    `log_loss`: factor - 1 on the mean log-loss as a part of that of always saying the base rate. `score_psi`:
    population stability index of the scores, over a day and a week. An alert is raised where an interval around the
    estimate excludes the limit, at odds of `odds` to 1, and ends where the estimate is within the limit again. The
    first three need `positives` labels of each kind."""

    auc: Annotated[float, Field(gt=0, le=0.5)] | None = 0.05
    calibration: Annotated[float, Field(gt=0, le=10)] | None = 0.1
    log_loss: Annotated[float, Field(gt=0, le=10)] | None = 0.1
    score_psi: Index | None = 0.25
    odds: Annotated[float, Field(ge=20, le=1e9)] = 10_000
    positives: Annotated[int, Field(ge=30, le=1_000_000)] = 100
