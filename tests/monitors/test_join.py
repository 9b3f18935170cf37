"""The join: what is mature, what pairs, and that no order shows."""

from __future__ import annotations

import random
import uuid
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors.columns import Labels, Words
from monitors.follower import read_tick
from monitors.join import Due, horizons, join_exposed, join_mature
from monitors.log import LogReader
from monitors.predictions import Predictions
from monitors.rows import Tick
from serinus.evidence import WorkItem
from serinus.ids import event_ms_of, uuid7
from serinus.records import MAGIC, LabelRow, PredictionRow, Score, encode_row, hour_of, log_folder
from serinus.sla import Sla

SLA = Sla.model_validate(
    {
        "model": "ads",
        "tasks": {
            "click": {"label_window_s": 1800, "absent": "negative"},
            "buy": {"label_window_s": 7200, "absent": "unlabelled", "given": "click"},
        },
        "slices": {"country": ["BR", "DE"]},
        "tick_s": 3600,
        "freeze_scores": 500,
    }
)
T0 = 240 * 3_600_000
ITEM = WorkItem(rollout="r1", model="ads", sla=SLA, baseline=1, candidate=2, alpha=0.05, started_event_ms=T0)


def key(number: int, event_ms: int = T0 + 1_000) -> bytes:
    return uuid7(event_ms, number.to_bytes(10, "big")).bytes


def answer(at: bytes, version: int, p: float, arm: str = "stable", fallback: str = "", index: int = 0, **more: object):
    scores = [Score("click", p, version, fallback), Score("buy", p / 2, version, fallback)]
    rest = {"entity": "u", "rollout": "r1", "epoch": 1, "slices": {"country": "BR"}, "latency_us": 9, **more}
    return PredictionRow(id=at, index=index, arm=arm, scores=scores, **rest)


def label(at: bytes, task: str, value: float, after_s: float) -> LabelRow:
    return LabelRow(id=at, index=0, task=task, value=value, known_ms=event_ms_of(at) + int(after_s * 1000))


def joined(predictions: list[PredictionRow], labels: list[LabelRow], tick_ms: int = T0 + 9 * 3_600_000) -> Tick:
    words = Words()
    due = Due(Predictions.of(predictions, words, ["country"]), Labels.of(labels, words), words)
    return join_mature(ITEM, list(SLA.tasks), due, tick_ms)


def shown(tick: Tick) -> dict[object, object]:
    """Everything in a tick, comparable."""
    names = ("event_ms", "entity", "y", "p", "slices")
    streams = {place: [[getattr(s, n).tolist() for n in names] for s in pair] for place, pair in tick.streams.items()}
    return {"tick": tick.tick_ms, "streams": streams, "counts": tick.counts, "first": tick.first_event_ms}


def test_a_row_pairs_whichever_arm_it_came_by() -> None:
    rows = [answer(key(1), 1, 0.2), answer(key(1), 2, 0.4, "shadow")]
    rows += [answer(key(2), 2, 0.6, "canary"), answer(key(2), 1, 0.8, "shadow")]
    a, b = joined(rows, []).streams["shadow", "click"]
    assert a.p.tolist() == [0.2, 0.8]
    assert b.p.tolist() == [0.4, 0.6]
    assert a.slices.tolist() == [[0], [0]]


def test_an_answer_that_something_stood_in_for_does_not_pair_but_counts_as_canary() -> None:
    rows = [
        answer(key(1), 2, 0.6, "canary", "stable"),
        answer(key(1), 1, 0.8, "shadow"),
        answer(key(2), 1, 0.1, "control"),
    ]
    streams = joined(rows, []).streams
    assert [len(side) for side in streams["shadow", "click"]] == [0, 0]
    assert [side.p.tolist() for side in streams["canary", "click"]] == [[0.1], [0.6]]


def test_absence_is_a_negative_or_nothing_and_conditions_hold() -> None:
    rows = [row for n in (1, 2, 3) for row in (answer(key(n), 1, 0.2), answer(key(n), 2, 0.4, "shadow"))]
    labels = [label(key(1), "click", 1, 60), label(key(2), "click", 1, 60), label(key(1), "buy", 1, 600)]
    tick = joined(rows, labels)
    assert tick.streams["shadow", "click"][0].y.tolist() == [1, 1, 0]
    assert tick.streams["shadow", "buy"][0].y.tolist() == [1]
    assert tick.counts["rows_unlabelled"] == 1
    assert tick.counts["rows_without_condition"] == 1


def test_a_label_later_than_its_window_is_counted_and_not_used() -> None:
    rows = [answer(key(1), 1, 0.2), answer(key(1), 2, 0.4, "shadow")]
    tick = joined(rows, [label(key(1), "click", 1, 1801)])
    assert tick.streams["shadow", "click"][0].y.tolist() == [0]
    assert tick.counts["labels_late"] == 1
    assert joined(rows, [label(key(1), "click", 1, 1800)]).streams["shadow", "click"][0].y.tolist() == [1]


def test_the_first_label_wins_and_a_repeated_one_changes_nothing() -> None:
    rows = [answer(key(1), 1, 0.2), answer(key(1), 2, 0.4, "shadow")]
    first, second = label(key(1), "click", 1, 10), label(key(1), "click", 0, 20)
    expected = shown(joined(rows, [first]))
    for labels in ([first, second], [second, first], [first, first, second]):
        found = shown(joined(rows, labels))
        assert found["counts"].pop("corrections_ignored", 0) == int(second in labels)
        assert found == expected


def test_labels_and_scores_that_are_no_numbers_of_the_kind_are_left_out() -> None:
    rows = [answer(key(1), 1, 0.2), answer(key(1), 2, float("nan"), "shadow")]
    assert [len(side) for side in joined(rows, []).streams["shadow", "click"]] == [0, 0]
    rows = [answer(key(1), 1, 0.2), answer(key(1), 2, 0.3, "shadow")]
    tick = joined(rows, [label(key(1), "click", 0.5, 10), label(key(1), "click", float("nan"), 10)])
    assert tick.streams["shadow", "click"][0].y.tolist() == [0]
    assert tick.counts["labels_invalid"] == 2


def test_rows_of_another_rollout_or_version_are_not_ours() -> None:
    rows = [answer(key(1), 1, 0.2), answer(key(1), 3, 0.4, "shadow"), answer(key(1), 2, 0.4, "shadow", rollout="r0")]
    assert [len(side) for side in joined(rows, []).streams["shadow", "click"]] == [0, 0]


def test_a_row_asked_twice_failed_if_it_once_did() -> None:
    words = Words()
    rows = [
        answer(key(1), 2, 0.6, "canary"),
        answer(key(1), 2, 0.5, "canary", "stable"),
        answer(key(2), 1, 0.1, "control"),
    ]
    exposed = join_exposed(ITEM, Predictions.of(rows, words, ["country"]), words)["click"]
    assert exposed.canary.tolist() == [True, False]
    assert exposed.failed.tolist() == [True, False]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[PredictionRow], list[LabelRow]]:
    """A few rows asked, answered, copied and labelled more than once, all due at one tick."""
    number, second = st.integers(0, 5), st.integers(0, 3_000)
    arms = st.sampled_from(["stable", "control", "canary", "shadow"])
    some = st.tuples(
        number, st.integers(0, 1), st.integers(1, 2), arms, st.sampled_from(["", "stable"]), st.floats(0, 1)
    )
    predictions = [
        answer(key(n), version, p, arm, fallback, index) for n, index, version, arm, fallback, p in draw(st.lists(some))
    ]
    marks = st.tuples(number, st.sampled_from(["click", "buy"]), st.sampled_from([0.0, 1.0, 0.5]), second)
    return predictions, [label(key(n), task, value, s) for n, task, value, s in draw(st.lists(marks))]


@settings(deadline=None)
@given(worlds(), st.randoms(use_true_random=False))
def test_neither_order_nor_repetition_shows(world: tuple, shuffled: random.Random) -> None:
    predictions, labels = world
    expected = shown(joined(predictions, labels))
    more = predictions + predictions[:3]
    shuffled.shuffle(more)
    assert shown(joined(more, list(reversed(labels)))) == {**expected}


@settings(deadline=None, max_examples=20)
@given(world=worlds(), seed=st.integers(0, 99))
def test_the_number_of_files_does_not_show(world: tuple, seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    predictions, labels = world
    roots = [tmp_path_factory.mktemp("log") for _ in range(2)]
    pick = random.Random(seed)
    write(roots[0], [*predictions, *labels], ["w0"], pick)
    write(roots[1], pick.sample([*predictions, *labels], len(predictions) + len(labels)), ["w1", "w2", "w3"], pick)
    ticks = [read_tick(ITEM, LogReader(root, "ads", ("country",)), T0, T0 + 3 * 3_600_000) for root in roots]
    assert shown(ticks[0]) == shown(ticks[1])


def write(root: Path, rows: list[PredictionRow | LabelRow], writers: list[str], pick: random.Random) -> None:
    for row in rows:
        kind = "labels" if isinstance(row, LabelRow) else "predictions"
        path = log_folder(root, kind, "ads", hour_of(event_ms_of(row.id))) / f"{pick.choice(writers)}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(encode_row(row) if file.tell() else MAGIC + encode_row(row))


def test_tasks_become_mature_after_the_longer_of_both_windows() -> None:
    assert horizons(SLA) == {1800: ("click",), 7200: ("buy",)}


def test_ids_are_compared_whole() -> None:
    zero, one = uuid.UUID(int=(T0 << 80) | (7 << 76) | (2 << 62)).bytes, key(1, T0)
    rows = [answer(zero, 1, 0.2), answer(one, 2, 0.4, "shadow")]
    assert [len(side) for side in joined(rows, []).streams["shadow", "click"]] == [0, 0]
    assert np.isclose(answer(zero, 1, 0.2).scores[0].value, 0.2)
