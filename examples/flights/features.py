"""The raw features of each request, of nothing but what was known when it came.

The schedule counts as known, the aircraft included. Everything else enters at the time at which it became known:
departures and arrivals when they happened, cancellations at the scheduled time, weather after its hour was over.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from examples.flights.data import HOME, HOUR_MS, MINUTE_MS, Tables
from examples.flights.history import Ints, Past
from examples.flights.labels import LATE_MINUTES

TEXTS = ("origin", "dest", "carrier")
SCHEDULE = (
    "distance", "scheduled_minutes", "minute_local", "minute_utc", "is_dst", "month", "weekday",
)  # fmt: skip
PLANE = ("plane_age", "seats")
WEATHER = ("temp", "humid", "wind_speed", "precip", "pressure", "visib")
RECENT = (
    "origin_delay_1h", "origin_late_1h", "origin_delay_3h", "origin_late_3h", "carrier_delay_3h", "carrier_late_3h",
    "dest_delay_3h", "dest_late_3h",
)  # fmt: skip
COUNTS = (
    "origin_departures_1h", "carrier_departures_3h", "dest_arrivals_3h", "origin_cancelled_6h", "carrier_cancelled_6h",
    "origin_overdue", "carrier_overdue",
)  # fmt: skip
OVERDUE = ("origin_overdue_minutes", "carrier_overdue_minutes")
AIRCRAFT = ("aircraft_dep_delay", "aircraft_arr_delay", "aircraft_hours")
NULLABLE = (*PLANE, *WEATHER, *RECENT, *OVERDUE, *AIRCRAFT)
"""Missing (NaN) where nothing was known: no such event within the window, no entry for the aircraft, no weather."""
NUMBERS = (*SCHEDULE, *COUNTS, *NULLABLE)
WEATHER_MAX_AGE_MS, AIRCRAFT_MAX_AGE_MS = 3 * HOUR_MS, 12 * HOUR_MS


def features(tables: Tables) -> pl.DataFrame:
    """One row a flight, in the order of `tables.flights`: TEXTS as strings, NUMBERS as float32 (missing: NaN).

    Delays in minutes, shares in [0, 1], `weekday` from 1 (Monday), times of day in minutes."""
    flights = tables.flights
    columns = {**_schedule(flights), **_weather(tables)}
    at_ms = flights["event_ms"].to_numpy()
    origin, dest = _codes(flights, "origin"), _codes(flights, "dest")
    carrier = _codes(flights, "origin", "carrier")
    columns |= _departures(flights, at_ms, "origin", origin) | _departures(flights, at_ms, "carrier", carrier)
    columns |= _arrivals(flights, at_ms, dest) | _aircraft(flights, at_ms, _codes(flights, "aircraft"))
    numbers = [pl.Series(name, columns[name], dtype=pl.Float32) for name in NUMBERS]
    return flights.select(TEXTS).with_columns(numbers)


Columns = dict[str, npt.NDArray[np.float64]]


def _schedule(flights: pl.DataFrame) -> Columns:
    local = pl.from_epoch("sched_ms", "ms").dt.replace_time_zone("UTC").dt.convert_time_zone(HOME).dt
    found = flights.select(
        "distance",
        "seats",
        scheduled_minutes=(pl.col("sched_arr_ms") - pl.col("sched_ms")) // MINUTE_MS,
        minute_local=local.hour().cast(pl.Int64) * 60 + local.minute(),
        minute_utc=pl.col("sched_ms") // MINUTE_MS % 1440,
        is_dst=local.dst_offset().dt.total_minutes() > 0,
        month=local.month(),
        weekday=local.weekday(),
        plane_age=local.year() - pl.col("plane_year"),
    )
    return {name: found[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in found.columns}


def _weather(tables: Tables) -> Columns:
    """The last observation at the origin that was known at the request and is not older than three hours."""
    found = tables.flights.select("origin", "event_ms").join_asof(
        tables.weather.sort("known_ms"),
        left_on="event_ms", right_on="known_ms", by="origin", strategy="backward", tolerance=WEATHER_MAX_AGE_MS,
        check_sortedness=False,
    )  # fmt: skip
    return {name: found[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in WEATHER}


def _departures(flights: pl.DataFrame, at_ms: Ints, name: str, group: Ints) -> Columns:
    """Of a group (an origin, or a carrier there): departures, cancellations, and flights now overdue."""
    flown = flights["dep_delay"].is_not_null().to_numpy()
    delay = flights["dep_delay"].fill_null(0).to_numpy()
    sched, departed = flights["sched_ms"].to_numpy(), flights["dep_ms"].fill_null(0).to_numpy()
    past = Past(group[flown], departed[flown], delay=delay[flown], late=(delay[flown] >= LATE_MINUTES).astype(np.int64))
    columns: Columns = {}
    for hours in (1, 3):
        count, sums = past.window(group, at_ms, hours * HOUR_MS)
        columns[f"{name}_departures_{hours}h"] = count.astype(np.float64)
        columns[f"{name}_delay_{hours}h"] = _share(sums["delay"], count)
        columns[f"{name}_late_{hours}h"] = _share(sums["late"], count)
    called_off, _ = Past(group[~flown], sched[~flown]).window(group, at_ms, 6 * HOUR_MS)
    columns[f"{name}_cancelled_6h"] = called_off.astype(np.float64)

    # Overdue: planned to have left by now, neither gone nor cancelled. Gone: both plan and departure are past.
    due = Past(group[flown], sched[flown], sched=sched[flown])
    gone = Past(group[flown], np.maximum(sched, departed)[flown], sched=sched[flown])
    ever = int(at_ms.max()) + 1
    due_count, due_sums = due.window(group, at_ms, ever)
    gone_count, gone_sums = gone.window(group, at_ms, ever)
    overdue = due_count - gone_count
    waited = overdue * at_ms - (due_sums["sched"] - gone_sums["sched"])
    columns[f"{name}_overdue"] = overdue.astype(np.float64)
    columns[f"{name}_overdue_minutes"] = _share(waited / MINUTE_MS, overdue)
    return columns


def _arrivals(flights: pl.DataFrame, at_ms: Ints, dest: Ints) -> Columns:
    there = flights["arr_delay"].is_not_null().to_numpy()
    delay = flights["arr_delay"].fill_null(0).to_numpy()[there]
    known = flights["arr_ms"].fill_null(0).to_numpy()[there]
    past = Past(dest[there], known, delay=delay, late=(delay >= LATE_MINUTES).astype(np.int64))
    count, sums = past.window(dest, at_ms, 3 * HOUR_MS)
    return {
        "dest_arrivals_3h": count.astype(np.float64),
        "dest_delay_3h": _share(sums["delay"], count),
        "dest_late_3h": _share(sums["late"], count),
    }


def _aircraft(flights: pl.DataFrame, at_ms: Ints, aircraft: Ints) -> Columns:
    """The aircraft's last departure and arrival of the past 12 hours, and the hours since that departure."""
    columns: Columns = {}
    for kind in ("dep", "arr"):
        there = flights[f"{kind}_delay"].is_not_null().to_numpy()
        delay = flights[f"{kind}_delay"].fill_null(0).to_numpy()[there]
        past = Past(aircraft[there], flights[f"{kind}_ms"].fill_null(0).to_numpy()[there], delay=delay)
        last = past.latest(aircraft, at_ms, AIRCRAFT_MAX_AGE_MS)
        columns[f"aircraft_{kind}_delay"] = last["delay"]
        if kind == "dep":
            columns["aircraft_hours"] = (at_ms - last["known_ms"]) / HOUR_MS
    return columns


def _codes(flights: pl.DataFrame, *names: str) -> Ints:
    """A number from 0 for each distinct combination of these columns."""
    return flights.select(pl.struct(names).rank("dense").cast(pl.Int64) - 1).to_series().to_numpy()


def _share(total: npt.NDArray[np.generic], count: Ints) -> npt.NDArray[np.float64]:
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
