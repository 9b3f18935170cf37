"""The frame, the ids and the labels of the flights."""

import uuid

import numpy as np
import polars as pl
import pytest

from examples.flights.data import HOUR_MS, LEAD_MS, MINUTE_MS, Tables, request_id
from examples.flights.labels import TASKS
from serinus.ids import event_ms_of


def test_every_flight_of_the_year_is_there_in_the_order_of_its_request(tables: Tables) -> None:
    flights = tables.flights
    assert flights.height == 336_776
    assert flights["event_ms"].is_sorted()
    assert flights["row"].n_unique() == flights.height
    assert (flights["sched_ms"] - flights["event_ms"] == LEAD_MS).all()
    assert (
        flights.select("row", "event_ms", "entity", "origin", "dest", "carrier", "aircraft")
        .null_count()
        .sum_horizontal()
        .item()
        == 0
    )


def test_the_first_flight_is_the_published_one(tables: Tables) -> None:
    # first row of flights.csv: UA 1545, EWR to IAH, 05:15 local (10:15 UTC), 2 minutes late, landed 08:30 (14:30 UTC)
    first = tables.flights.row(0, named=True)
    assert (first["entity"], first["origin"], first["dest"]) == ("N14228", "EWR", "IAH")
    assert first["sched_ms"] == 1_357_035_300_000
    assert first["dep_ms"] == first["sched_ms"] + 2 * MINUTE_MS
    assert first["arr_ms"] == 1_357_050_600_000


def test_a_clock_at_the_destination_and_the_recorded_delay_agree_on_the_landing(tables: Tables) -> None:
    # time in the air is recorded apart from the clocks: a wrong time zone would be an hour off
    taxi = tables.flights.filter(pl.col("arr_delay").is_not_null()).select(
        (pl.col("arr_ms") - pl.col("dep_ms")) / MINUTE_MS - pl.col("air_time")
    )
    assert taxi.min().item() > 0
    assert taxi.max().item() < 4 * 60
    by_place = tables.flights.group_by("dest").agg(
        taxi=((pl.col("arr_ms") - pl.col("dep_ms")) / MINUTE_MS - pl.col("air_time")).median(), n=pl.len()
    )
    assert by_place.filter((pl.col("taxi") < 10) | (pl.col("taxi") > 60), pl.col("n") > 20).height == 0


def test_the_entity_is_the_tail_number_or_else_the_flight(tables: Tables) -> None:
    unnamed = tables.flights.filter(pl.col("entity") == pl.format("{}{}", "carrier", "flight"))
    assert unnamed.height == 2_512
    assert unnamed["dep_delay"].is_null().all()


def test_ids_are_the_same_every_time_carry_their_time_and_differ(tables: Tables) -> None:
    rows = tables.flights.head(5_000).select("row", "event_ms").rows()
    ids = [request_id(row, event_ms) for row, event_ms in rows]
    assert ids == [request_id(row, event_ms) for row, event_ms in rows]
    assert [event_ms_of(one) for one in ids] == [event_ms for _, event_ms in rows]
    assert len(set(ids)) == len(ids)
    assert request_id(0, 1_357_028_100_000) == uuid.UUID("013bf52d-87a0-764f-9755-9a97b5ff785f")


def test_the_shares_are_those_of_the_year(truth: pl.DataFrame) -> None:
    shares = truth.select(pl.col(TASKS).fill_nan(None).mean()).row(0, named=True)
    expected = {"dep_late": 0.222, "arr_late": 0.245, "cancelled": 0.0245, "diverted": 0.0035}
    assert shares == pytest.approx(expected, abs=0.0006)


def test_what_did_not_happen_has_no_label(truth: pl.DataFrame) -> None:
    gone = truth.filter(pl.col("cancelled") == 1)
    assert gone.height == 8_255
    assert gone.select(pl.col("dep_late", "arr_late", "diverted").is_nan().all()).row(0) == (True, True, True)
    astray = truth.filter(pl.col("diverted") == 1)
    assert astray["arr_late"].is_nan().all()
    assert astray["dep_late"].is_not_nan().all()
    flown = truth.filter(pl.col("diverted") == 0)
    assert flown.select(pl.col(TASKS).is_not_nan().all()).row(0) == (True,) * 4
    assert truth["cancelled"].is_not_nan().all()


def test_a_label_has_a_time_exactly_where_it_exists(truth: pl.DataFrame) -> None:
    for task in TASKS:
        assert (truth[task].is_nan() == truth[f"{task}_known_ms"].is_null()).all(), task


def test_no_label_is_known_before_its_request_and_arrivals_follow_departures(
    tables: Tables, truth: pl.DataFrame
) -> None:
    event_ms = tables.flights["event_ms"]
    for task in TASKS:
        assert (truth[f"{task}_known_ms"] > event_ms).all(), task
    for later in ("arr_late_known_ms", "diverted_known_ms"):
        assert (truth[later] >= truth["dep_late_known_ms"]).all(), later
    cancelled = truth["cancelled"] == 1
    assert (truth["cancelled_known_ms"].filter(cancelled) == tables.flights["sched_ms"].filter(cancelled)).all()


def test_a_label_outside_its_window_is_rare(tables: Tables, truth: pl.DataFrame) -> None:
    windows_h = {"dep_late": 12, "arr_late": 18, "cancelled": 3, "diverted": 24}
    for task, hours in windows_h.items():
        said = truth.filter(pl.lit(task != "cancelled") | (pl.col("cancelled") == 1))
        event_ms = tables.flights["event_ms"].filter((truth["cancelled"] == 1) | (task != "cancelled"))
        late = (said[f"{task}_known_ms"] - event_ms > hours * HOUR_MS).fill_null(False)
        assert np.count_nonzero(late) < 0.0005 * said.height, task
