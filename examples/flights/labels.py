"""What became of each flight, and when one could know it."""

from __future__ import annotations

import polars as pl

from examples.flights.data import HOUR_MS

TASKS = ("dep_late", "arr_late", "cancelled", "diverted")
LATE_MINUTES = 15
UNSEEN_LANDING_MS = 6 * HOUR_MS
"""A diverted flight without a time of arrival counts as known this long after its scheduled one: nine in ten of those
whose time is known have landed by then."""


def labels(flights: pl.DataFrame) -> pl.DataFrame:
    """One row a flight, in the order of `flights`: for every task the label (0.0, 1.0 or NaN: there is none) and
    `TASK_known_ms`, the time at which it became known (UTC ms; null where there is no label).

    dep_late, arr_late: 15 minutes or more; none for a cancelled flight, arr_late none for a diverted one.
    cancelled: it never departed; known at the scheduled time (that it was not: at its departure).
    diverted: it departed but did not arrive where it should; none for a cancelled flight."""
    departed, arrived = pl.col("dep_delay").is_not_null(), pl.col("arr_delay").is_not_null()
    landed = pl.coalesce("arr_ms", pl.max_horizontal(pl.col("sched_arr_ms") + UNSEEN_LANDING_MS, "dep_ms"))
    return flights.select(
        dep_late=_masked(pl.col("dep_delay") >= LATE_MINUTES, departed),
        arr_late=_masked(pl.col("arr_delay") >= LATE_MINUTES, arrived),
        cancelled=departed.not_().cast(pl.Float32),
        diverted=_masked(arrived.not_(), departed),
        dep_late_known_ms=pl.when(departed).then("dep_ms"),
        arr_late_known_ms=pl.when(arrived).then("arr_ms"),
        cancelled_known_ms=pl.when(departed).then("dep_ms").otherwise("sched_ms"),
        diverted_known_ms=pl.when(departed).then(landed),
    )


def _masked(label: pl.Expr, there: pl.Expr) -> pl.Expr:
    return pl.when(there).then(label.cast(pl.Float32)).otherwise(pl.lit(float("nan"), pl.Float32))
