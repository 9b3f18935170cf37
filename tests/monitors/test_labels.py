"""Labels as of an age, what is no evidence, and labels that come too late: each counted, and no order shows."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors.columns import Labels, Words
from monitors.follower import Follower, read_tick
from monitors.join import Due, join_answers, join_early, join_mature
from monitors.log import LogReader
from monitors.predictions import Predictions
from monitors.rows import Scored, Tick
from serinus.evidence import WorkItem
from serinus.ids import event_ms_of, uuid7
from serinus.records import LabelRow, PredictionRow, Score
from serinus.sla import Sla

HOUR_MS = 3_600_000
T0 = 240 * HOUR_MS
SLA = Sla.model_validate(
    {
        "model": "ads",
        "tasks": {
            "click": {"label_window_s": 7200, "early_window_s": 600, "absent": "negative"},
            "rate": {"label_window_s": 7200, "absent": "unlabelled", "corrections": "last"},
        },
        "guards": [
            {"task": "click", "metric": "auc", "margin": 0.01},
            {"task": "click", "metric": "early_auc", "margin": 0.03, "role": "optional"},
            {"task": "click", "metric": "shift", "margin": 0.25, "role": "hold"},
        ],
        "latency_ms": 20,
        "tick_s": 3600,
    }
)
ITEM = WorkItem(rollout="r1", model="ads", sla=SLA, baseline=1, candidate=2, alpha=0.05, started_event_ms=T0)


def key(number: int, event_ms: int = T0 + 1_000) -> bytes:
    return uuid7(event_ms, number.to_bytes(10, "big")).bytes


def answer(at: bytes, version: int, p: float, arm: str = "stable", **more: object) -> PredictionRow:
    rest = {"entity": "u", "rollout": "r1", "epoch": 1, "slices": {}, "latency_us": 9, "index": 0, **more}
    fallback = rest.pop("fallback", "")
    return PredictionRow(id=at, arm=arm, scores=[Score(t, p, version, fallback) for t in SLA.tasks], **rest)


def pair(at: bytes) -> list[PredictionRow]:
    return [answer(at, 1, 0.2), answer(at, 2, 0.4, "shadow")]


def label(at: bytes, task: str, value: float, after_s: float, index: int = 0) -> LabelRow:
    return LabelRow(id=at, index=index, task=task, value=value, known_ms=event_ms_of(at) + int(after_s * 1000))


def due(predictions: list[PredictionRow], labels: list[LabelRow]) -> Due:
    words = Words()
    return Due(Predictions.of(predictions, words, []), Labels.of(labels, words), words)


def mature(predictions: list[PredictionRow], labels: list[LabelRow]) -> Tick:
    return join_mature(ITEM, list(SLA.tasks), due(predictions, labels), T0 + 9 * HOUR_MS)


def shown(streams: dict[object, tuple[Scored, Scored]]) -> dict[object, object]:
    names = ("event_ms", "entity", "y", "p", "slices")
    return {
        at: [[np.nan_to_num(getattr(s, n), nan=-9).tolist() for n in names] for s in two] for at, two in streams.items()
    }


def test_early_is_what_was_known_at_that_age_and_mature_what_was_known_in_the_window() -> None:
    rows = pair(key(1)) + pair(key(2))
    labels = [label(key(1), "click", 1, 600), label(key(2), "click", 1, 601)]
    tick = join_early(ITEM, ["click"], due(rows, labels), T0 + 9 * HOUR_MS)
    assert tick.streams == {}
    assert tick.early["shadow", "click"][0].y.tolist() == [1, 0]
    assert mature(rows, labels).streams["shadow", "click"][0].y.tolist() == [1, 1]


def test_each_row_enters_each_horizon_once(tmp_path: Path, write_log: Callable[..., None]) -> None:
    rows = [each for n in range(50) for each in pair(key(n, T0 + n * 200_000))]
    write_log(tmp_path, "ads", [*rows, *(label(key(n, T0 + n * 200_000), "click", 1, 60) for n in range(0, 50, 3))])
    reader = LogReader(tmp_path, "ads", ())
    ticks = [read_tick(ITEM, reader, T0 + at * HOUR_MS, T0 + (at + 1) * HOUR_MS) for at in range(9)]
    for name in ("streams", "early", "unlabelled"):
        sides = [getattr(tick, name)["shadow", "click"][1] for tick in ticks]
        assert sum(len(side) for side in sides) == 50
    assert np.isnan(np.concatenate([tick.unlabelled["shadow", "click"][0].y for tick in ticks])).all()
    assert [len(tick.unlabelled["shadow", "click"][0]) for tick in ticks][:4] == [18, 18, 14, 0]


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([label(key(1), "click", 0.5, 9)], "labels_invalid"),
        ([label(key(1), "click", 1, -1)], "labels_before_prediction"),
        ([label(key(9, T0 + HOUR_MS), "click", 1, 9)], "labels_without_row"),
        ([label(key(1), "click", 1, 9, index=7)], "labels_without_row"),
        ([label(key(1), "buy", 1, 9)], "labels_unknown_task"),
        ([label(key(1), "click", 1, 7201)], "labels_late"),
        ([label(key(1), "click", 1, 7201)], "labels_late:click"),
    ],
)
def test_what_is_no_evidence_is_counted_once_and_changes_nothing(labels: list[LabelRow], reason: str) -> None:
    rows = pair(key(1))
    plain, odd = mature(rows, []), mature(rows, labels * 3)
    assert shown(odd.streams) == shown(plain.streams)
    assert odd.counts[reason] == 1
    assert reason not in plain.counts


def test_a_newer_value_counts_where_the_sla_says_so_and_is_seen_either_way() -> None:
    rows, both = pair(key(1)), [(0.0, 10), (1.0, 20), (1.0, 30)]
    labels = [label(key(1), task, value, s) for task in SLA.tasks for value, s in both]
    tick = mature(rows, [*labels, label(key(1), "rate", 0, 7300)])
    assert tick.streams["shadow", "click"][0].y.tolist() == [0]
    assert tick.streams["shadow", "rate"][0].y.tolist() == [1]
    assert (tick.counts["labels_corrected"], tick.counts["corrections_ignored"]) == (1, 1)


def test_what_is_no_number_failed_and_what_took_long_was_slow_by_the_version_that_was_meant() -> None:
    rows = [
        answer(key(1), 2, float("nan"), "canary", latency_us=20_000),
        answer(key(2), 2, 0.5, "canary", fallback="stable", latency_us=20_001),
        answer(key(3), 1, 0.5, "control"),
        answer(key(3), 1, 0.5, "control", latency_us=99_000),
        answer(key(4), 1, 0.5, "canary"),
    ]
    words = Words()
    exposed = join_answers(ITEM, Predictions.of(rows, words, []), words).exposed["click"]
    assert exposed.canary.tolist() == [True, True, False]
    assert exposed.failed.tolist() == [True, True, False]
    assert exposed.slow.tolist() == [False, True, True]


def test_shares_that_were_recorded_are_named() -> None:
    words = Words()
    rows = [answer(key(n), 1, 0.5, share=share) for n, share in enumerate([1.0, 0.25, 0.25])]
    counts = join_answers(ITEM, Predictions.of([*rows, *rows], words, []), words).counts
    assert counts == {"answers": 3, "answers_at_share:0.25": 2, "answers_at_share:1": 1}


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[PredictionRow], list[LabelRow]]:
    number, second = st.integers(0, 4), st.integers(-5, 8_000)
    arms = st.sampled_from(["stable", "control", "canary", "shadow"])
    p = st.sampled_from([0.1, 0.7, float("nan")])
    some = st.tuples(number, st.integers(1, 2), arms, p, st.sampled_from(["", "stable"]), st.integers(0, 40_000))
    rows = [answer(key(n), v, p, arm, fallback=f, latency_us=us) for n, v, arm, p, f, us in draw(st.lists(some))]
    marks = st.tuples(number, st.sampled_from(["click", "rate", "odd"]), st.sampled_from([0.0, 1.0, 0.5]), second)
    return rows, [label(key(n), task, value, s) for n, task, value, s in draw(st.lists(marks))]


def everything(predictions: list[PredictionRow], labels: list[LabelRow]) -> object:
    ripe, rows = mature(predictions, labels), due(predictions, labels)
    early = join_early(ITEM, ["click"], rows, T0 + HOUR_MS)
    answers = join_answers(ITEM, rows.predictions, rows.words)
    exposed = {task: [getattr(e, n).tolist() for n in e.__slots__] for task, e in answers.exposed.items()}
    parts = [shown(each) for each in (ripe.streams, early.early, answers.unlabelled)]
    return parts, exposed, ripe.counts, early.counts, answers.counts, ripe.labels_seen


@settings(deadline=None)
@given(worlds(), st.randoms(use_true_random=False))
def test_neither_order_nor_repetition_shows_anywhere(world: tuple, pick: random.Random) -> None:
    predictions, labels = world
    again, more = predictions + predictions[:4], labels + labels[:4]
    pick.shuffle(again)
    pick.shuffle(more)
    assert repr(everything(again, more)) == repr(everything(predictions, labels))


def late_counts(log: Path, state: Path, ticks: int) -> dict[str, int]:
    follower = Follower.start(ITEM, log, state)
    counts: dict[str, int] = {}
    for _ in range(ticks):
        evidence = follower.look(T0 + 10**12)
        assert evidence is not None
        counts = evidence.counts
    return {name: count for name, count in counts.items() if "labels_late" in name}


def test_labels_long_after_their_row_was_judged_are_counted_for_good(
    tmp_path: Path, write_log: Callable[..., None]
) -> None:
    log = tmp_path / "log"
    rows = [each for n in range(20) for each in pair(key(n, T0 + n * 60_000))]
    labels = [label(key(n, T0 + n * 60_000), "click", 1, 5 * 86_400 + n) for n in range(7)]
    write_log(log, "ads", [*rows, label(key(9, T0 + 9 * 60_000), "click", 1, 60)])
    follower = Follower.start(ITEM, log, tmp_path / "state")
    for _ in range(5 * 24 + 1):
        follower.look(T0 + 10**12)
    write_log(log, "ads", [*labels, *labels[:3]], writer="w1")
    for at in range(72):
        if at == 40:
            more = [label(key(n, T0 + n * 60_000), "click", 1, 6 * 86_400 + n) for n in range(8, 11)]
            write_log(log, "ads", [*more, *labels, *more], writer="w2")
        evidence = follower.look(T0 + 10**12)
        follower.save()
        if at % 20 == 7:
            item = ITEM.model_copy(update={"last_tick_ms": follower.at_ms})
            follower = Follower.start(item, log, tmp_path / "state")
    assert evidence is not None
    assert {n: c for n, c in evidence.counts.items() if "labels_late" in n} == {
        "labels_late": 10,
        "labels_late:click": 10,
    }
    assert late_counts(log, tmp_path / "other", 5 * 24 + 73) == {"labels_late": 10, "labels_late:click": 10}


def test_a_source_that_broke_its_promise_is_seen(tmp_path: Path, write_log: Callable[..., None]) -> None:
    log = tmp_path / "log"
    write_log(log, "ads", [*pair(key(1)), *pair(key(2)), label(key(1), "click", 1, 60)])
    follower = Follower.start(ITEM, log, tmp_path / "state")
    for _ in range(9):
        follower.look(T0 + 10**12)
    write_log(log, "ads", [label(key(2), "click", 1, 60), label(key(1), "click", 1, 60)], writer="w1")
    for _ in range(3):
        evidence = follower.look(T0 + 10**12)
    assert evidence is not None
    assert evidence.counts["labels_after_maturity:click"] == 1
