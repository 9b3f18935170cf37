"""Which slices rows are in, and that what is frequent depends on the rows alone."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors.columns import Words
from monitors.follower import Follower
from monitors.log import LogReader
from monitors.predictions import Predictions
from monitors.slices import cohort_of, opened, places_of, resolved
from serinus.archive_rows import entity_hash
from serinus.evidence import WorkItem
from serinus.ids import uuid7
from serinus.records import PredictionRow, Score
from serinus.sla import Sla

HOUR_MS = 3_600_000
T0 = 240 * HOUR_MS
SLICES = {
    "country": ["BR", "DE"],
    "city": {"top": 2, "other": True},
    "country*device": "auto",
    "plan*country": {"values": ["free*DE", "paid*BR"], "other": True},
    "cohort": 3,
}
SLA = Sla.model_validate(
    {
        "model": "ads",
        "tasks": {"click": {"label_window_s": 600, "absent": "negative"}},
        "slices": SLICES,
        "guards": [
            {"task": "click", "metric": "auc", "margin": 0.01},
            *(
                {"task": "click", "metric": "failures", "margin": 0.5, "by": name, "role": "optional"}
                for name in SLICES
            ),
        ],
        "tick_s": 3600,
    }
)
ITEM = WorkItem(rollout="r1", model="ads", sla=SLA, baseline=1, candidate=2, alpha=0.05, started_event_ms=T0)
VALUES = {"country": ["BR", "DE", "US"], "city": ["x", "y", "z"], "device": ["ios", "web"], "plan": ["free", "paid"]}


def row(number: int, arm: str = "stable", at_ms: int = T0 + 60_000, **slices: str) -> PredictionRow:
    key = uuid7(at_ms, number.to_bytes(10, "big")).bytes
    version = 2 if arm in ("shadow", "canary") else 1
    return PredictionRow(
        id=key,
        index=0,
        arm=arm,
        entity=f"u{number}",
        rollout="r1",
        epoch=1,
        scores=[Score("click", 0.5, version)],
        slices=slices,
        latency_us=5,
    )


class Held:
    """A reader of rows in memory."""

    def __init__(self, rows: list[PredictionRow]) -> None:
        self.words = Words()
        self.rows = Predictions.of(rows, self.words, SLA.slice_features)

    def predictions(self, start_ms: int, end_ms: int) -> tuple[Predictions, tuple[str, ...]]:
        at = self.rows.event_ms
        return self.rows.take((at >= start_ms) & (at < end_ms)), ()


some_rows = st.lists(
    st.tuples(*(st.sampled_from([*values, ""]) for values in VALUES.values())), min_size=1, max_size=40
)


@settings(deadline=None)
@given(some_rows)
def test_each_row_is_where_its_own_words_say(drawn: list[tuple[str, ...]]) -> None:
    rows = [row(n, **dict(zip(VALUES, values, strict=True))) for n, values in enumerate(drawn)]
    reader = Held(rows)
    item = resolved(ITEM, reader, T0 + HOUR_MS)
    lists = item.sla.slice_lists
    found = places_of(reader.rows.slices, reader.rows.entity, item.sla, reader.words)
    for at, each in enumerate(rows):
        for column, (name, names) in enumerate(lists.items()):
            if name == "cohort":
                expected = f"{cohort_of(np.array([entity_hash(each.entity)], np.uint64), 3)[0] + 1}/3"
            else:
                own = "*".join(each.slices[feature] for feature in name.split("*"))
                expected = own if own in names else "other" if "other" in names else None
            place = found[at, column]
            assert (names[place] if place >= 0 else None) == expected


@settings(deadline=None)
@given(some_rows, st.randoms(use_true_random=False))
def test_what_is_frequent_depends_on_the_set_of_rows_only(drawn: list[tuple[str, ...]], pick: random.Random) -> None:
    rows = [row(n, **dict(zip(VALUES, values, strict=True))) for n, values in enumerate(drawn)]
    again = [*rows, *rows[:5], *(row(n, "shadow", city="s") for n in range(9))]
    pick.shuffle(again)
    once, twice = (resolved(ITEM, Held(each), T0 + HOUR_MS).sla for each in (rows, again))
    assert once == twice
    cities = Counter(values[1] for values in drawn if values[1])
    best = [city for city, _ in sorted(cities.items(), key=lambda each: (-each[1], each[0]))][:2]
    assert once.slice_lists["city"] == (*best, "other")
    assert opened(ITEM.model_copy(update={"sla": once})) == opened(ITEM)


def test_hours_before_the_rollout_say_what_is_frequent_when_the_first_tick_is_short() -> None:
    old = [row(n, at_ms=T0 - 5 * HOUR_MS, city="old") for n in range(9)]
    ancient = [row(n, at_ms=T0 - 30 * HOUR_MS, city="ancient") for n in range(99)]
    sla = resolved(ITEM, Held([*old, *ancient, row(100, city="new")]), T0 + HOUR_MS).sla
    assert sla.slice_lists["city"] == ("old", "new", "other")


def test_nobody_seen_leaves_slices_open() -> None:
    assert resolved(ITEM, Held([]), T0 + HOUR_MS).sla.slice_lists["city"] == ("other",)


def test_cohorts_are_even_and_say_nothing_of_the_groups_of_users() -> None:
    hashes = np.array([entity_hash(f"u{n}") for n in range(20_000)], np.uint64)
    cohort = cohort_of(hashes, 8)
    table = np.zeros((8, 32))
    np.add.at(table, (cohort, (hashes % np.uint64(32)).astype(np.int64)), 1)
    chi2 = ((table - table.mean()) ** 2 / table.mean()).sum()
    assert chi2 < 330  # 255 degrees of freedom: beyond it once in a thousand times


def test_too_many_values_leave_room_for_tasks() -> None:
    words = Words(limit=100)
    rows = [row(n, city=f"c{n}") for n in range(200)]
    held = Predictions.of(rows, words, ("city",))
    assert words.number("click") >= 0
    assert (held.slices[-1] == -1).all()
    one = Sla.model_validate(
        {**SLA.model_dump(include={"model", "tasks"}), "slices": {"city": {"values": ["c1", "c150"], "other": True}}}
    )
    assert places_of(held.slices, held.entity, one, words)[[1, 150, 160], 0].tolist() == [0, 2, 2]


def test_a_rollout_finds_its_slices_once_and_keeps_them(tmp_path: Path, write_log: Callable[..., None]) -> None:
    pick = random.Random(3)

    def hour(at: int, cities: list[str]) -> list[PredictionRow]:
        more = {"country": "BR", "device": "ios", "plan": "free"}
        arms = ("control", "canary")
        return [
            row(1000 * at + n, pick.choice(arms), T0 + at * HOUR_MS + n, city=pick.choice(cities), **more)
            for n in range(60)
        ]

    rows = [row for at, cities in ((1, ["x", "x", "y", "z"]), (2, ["v", "w"])) for row in hour(at, cities)]
    write_log(tmp_path / "log", "ads", rows)
    whole = Follower.start(ITEM, tmp_path / "log", tmp_path / "one")
    looks = [whole.look(T0 + 9 * HOUR_MS) for _ in range(3)]
    assert looks[0] is not None
    assert looks[2] is not None
    assert {cell.slice for cell in looks[0].cells if cell.slice.startswith("city")} == {"city=other"}
    met = Counter(each.slices["city"] for each in rows[:60])
    best = sorted(met, key=lambda city: (-met[city], city))[:2]
    found = [cell.slice for cell in looks[2].cells if cell.slice.startswith("city")]
    assert found == [f"city={city}" for city in (*best, "other")]
    killed = Follower.start(ITEM, tmp_path / "log", tmp_path / "two")
    for at in range(3):
        assert killed.look(T0 + 9 * HOUR_MS) == looks[at]
        killed.save()
        last = ITEM.model_copy(update={"last_tick_ms": T0 + (at + 1) * HOUR_MS})
        killed = Follower.start(last, tmp_path / "log", tmp_path / "two")
        assert killed.at_ms == T0 + (at + 1) * HOUR_MS
    reader = LogReader(tmp_path / "log", "ads", SLA.slice_features)
    assert resolved(ITEM, reader, T0 + 2 * HOUR_MS).sla == whole.item.sla


@pytest.mark.parametrize("name", ["country*device", "city"])
def test_a_feature_that_nobody_sends_leaves_all_in_other(name: str) -> None:
    sla = resolved(ITEM, Held([row(1, plan="free")]), T0 + HOUR_MS).sla
    assert sla.slice_lists[name] == ("other",)
