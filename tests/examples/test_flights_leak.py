"""No feature may know anything that became known after the request.

For a sample of requests everything that was not yet known is replaced by other outcomes, at other (later) times, and
all features of the request must stay the same to the last bit."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from examples.flights.data import DAY_MS, MINUTE_MS, Tables
from examples.flights.features import NUMBERS, TEXTS, features

Mutation = Callable[[Tables], Tables]
SAMPLE = 120


def around(tables: Tables, now: int) -> Tables:
    """Three days before and one after: no feature looks farther, which the comparison with the year shows as well."""
    near = (pl.col("event_ms") > now - 3 * DAY_MS) & (pl.col("event_ms") < now + DAY_MS)
    then = (pl.col("known_ms") > now - DAY_MS) & (pl.col("known_ms") < now + DAY_MS)
    return Tables(tables.flights.filter(near), tables.weather.filter(then))


def otherwise(tables: Tables, now: int, rng: np.random.Generator) -> Tables:
    """The same past up to `now`, and another future. What is planned stays planned; what is due is due."""
    frame = tables.flights
    sched, dep, arr = (frame[name].to_numpy().astype(float) for name in ("sched_ms", "dep_ms", "arr_ms"))
    delay, arr_delay = (frame[name].to_numpy().astype(float) for name in ("dep_delay", "arr_delay"))
    size = frame.height

    gone_known = dep <= now
    cancelled_known = np.isnan(dep) & (sched <= now)
    unknown = ~gone_known & ~cancelled_known
    never = unknown & (sched > now) & (rng.random(size) < 0.3)
    dep = np.where(unknown, np.maximum(now, sched - 20 * MINUTE_MS) + rng.integers(1, 600, size) * MINUTE_MS, dep)
    delay = np.where(unknown, rng.integers(-20, 500, size), delay)
    dep, delay = np.where(never, np.nan, dep), np.where(never, np.nan, delay)

    open_ = ~cancelled_known & ~(arr <= now)
    arr = np.where(open_, np.maximum(now, dep) + rng.integers(1, 600, size) * MINUTE_MS, arr)
    arr_delay = np.where(open_, rng.integers(-60, 500, size), arr_delay)
    astray = open_ & (rng.random(size) < 0.2)
    arr_delay = np.where(astray | never, np.nan, arr_delay)
    arr = np.where(never, np.nan, arr)
    named = {"dep_ms": dep, "dep_delay": delay, "arr_ms": arr, "arr_delay": arr_delay, "air_time": arr * 0 + 1}
    columns = [pl.Series(name, value).fill_nan(None).cast(pl.Int64) for name, value in named.items()]

    late = pl.col("known_ms") > now
    names = ["temp", "humid", "wind_speed", "precip", "pressure", "visib"]
    weather = tables.weather.with_columns(
        pl.when(late).then(pl.lit(777.0)).otherwise(name).alias(name) for name in names
    )
    return replace(tables, flights=frame.with_columns(columns), weather=weather)


def differing(tables: Tables, mutation: Mutation, year: pl.DataFrame | None = None, sample: int = SAMPLE) -> set[str]:
    """The features that change for any sampled request when the future does; `year`: those of the whole year."""
    rng = np.random.default_rng(20130401)
    changed: set[str] = set()
    for at in rng.choice(tables.flights.height, sample, replace=False):
        flight = tables.flights.row(int(at), named=True)
        near = around(tables, flight["event_ms"])
        place = near.flights["row"].index_of(flight["row"])
        assert place is not None
        true = features(mutation(near)).row(place, named=True) if year is None else year.row(int(at), named=True)
        other = features(mutation(otherwise(near, flight["event_ms"], rng))).row(place, named=True)
        for name in (*TEXTS, *NUMBERS):
            one, two = true[name], other[name]
            if one != two and not (one != one and two != two):
                changed.add(name)
    return changed


def test_no_feature_knows_what_came_after_the_request(tables: Tables, year: pl.DataFrame) -> None:
    assert differing(tables, lambda same: same, year) == set()


def shifted(tables: Tables, column: str, minutes: int) -> Tables:
    if column in tables.flights.columns:
        return replace(tables, flights=tables.flights.with_columns(pl.col(column) - minutes * MINUTE_MS))
    return replace(tables, weather=tables.weather.with_columns(pl.col(column) - minutes * MINUTE_MS))


@pytest.mark.parametrize(
    ("column", "minutes", "told"),
    [("dep_ms", 20, "origin_delay_1h"), ("arr_ms", 60, "dest_delay_3h"), ("known_ms", 60, "humid")],
)
def test_the_comparison_finds_a_fact_that_counts_too_early(
    tables: Tables, column: str, minutes: int, told: str
) -> None:
    assert told in differing(tables, lambda these: shifted(these, column, minutes), sample=30)


def test_a_missing_tail_number_does_not_show_for_only_cancelled_flights_lack_it(
    tables: Tables, year: pl.DataFrame
) -> None:
    made = year.with_columns(
        unnamed=tables.flights["entity"] == tables.flights.select(pl.format("{}{}", "carrier", "flight")).to_series()
    )
    names = ["plane_age", "seats", "aircraft_dep_delay", "aircraft_arr_delay"]
    gaps = made.group_by("carrier", "unnamed").agg(pl.col(names).is_nan().mean(), n=pl.len())
    both = gaps.filter("unnamed", pl.col("n") >= 50).join(
        gaps.filter(~pl.col("unnamed")), on="carrier", suffix="_named"
    )
    assert both["n"].sum() > 2_000
    for name in names:
        apart = (both[name] - both[f"{name}_named"]).abs()
        assert apart.to_numpy().max() < 0.15, (name, apart)
