"""What a label says of a prediction: against plain Python, and at the edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from monitors.columns import Words
from monitors.losses import NONE, SMALLEST, judged, valid_labels
from monitors.predictions import Predictions
from serinus.records import PredictionRow, Score

NAN = float("nan")


def test_binary_rows_stay_as_they_are() -> None:
    y, p = np.array([0.0, 1.0, NAN]), np.array([0.1, 0.2, 0.3])
    found = judged("binary", y, p, NONE)
    assert found[0] is y
    assert found[1] is p
    assert not len(found[2])


def test_squared_errors() -> None:
    y, p, loss = judged("regression", np.array([1.0, -2.0, NAN]), np.array([1.5, 2.0, 7.0]), NONE)
    assert loss[:2].tolist() == [0.25, 16.0]
    assert p.tolist() == [1.5, 2.0, 7.0]
    assert np.isnan([y[2], loss[2]]).all()


@st.composite
def answers(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """(labels, probabilities), of 2 to 5 classes."""
    rows, classes = draw(st.integers(1, 20)), draw(st.integers(2, 5))
    raw = draw(arrays(np.float64, (rows, classes), elements=st.sampled_from([0.0, 1e-9, 0.1, 0.5, 1.0])))
    raw[:, 0] += raw.sum(1) == 0
    labels = draw(arrays(np.int64, rows, elements=st.integers(0, classes - 1)))
    return labels, (raw / raw.sum(1, keepdims=True)).astype(np.float32)


@given(answers())
def test_log_loss_and_top_1_are_those_of_plain_python(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    labels, shares = drawn
    y, p, loss = judged("multiclass", labels.astype(np.float64), shares.max(1).astype(np.float64), shares)
    for at, (label, row) in enumerate(zip(labels.tolist(), shares.tolist(), strict=True)):
        assert p[at] == row[label]
        assert y[at] == (row.index(max(row)) == label)
        assert loss[at] == pytest.approx(-math.log(min(max(row[label], SMALLEST), 1 - SMALLEST)), rel=1e-12)


def test_what_the_model_cannot_answer_is_no_number() -> None:
    """A label beyond a row's classes, a row without probabilities, and one without a label."""
    shares = np.array([[0.7, 0.3, NAN], [0.2, 0.3, 0.5], [NAN] * 3, [0.2, 0.5, 0.3]], np.float32)
    value = np.array([0.7, 0.5, 0.9, 0.5])
    y, p, loss = judged("multiclass", np.array([2.0, 2.0, 0.0, NAN]), value, shares)
    assert np.isnan(y).tolist() == np.isnan(loss).tolist() == [True, False, True, True]
    assert p[1:2].tolist() == [0.5]
    assert np.isnan(p).tolist() == [True, False, True, False]
    assert (y[1], p[3]) == (1.0, 0.5)
    assert np.isnan(judged("multiclass", np.array([3.0]), np.array([0.5]), shares[1:2])).all()
    y, p, loss = judged("multiclass", np.array([0.0, NAN]), value[:2], NONE)
    assert np.isnan([*y, *loss, p[0]]).all()
    assert p[1] == 0.5


def test_labels_are_those_of_the_kind() -> None:
    values = np.array([0.0, 1.0, 2.0, 0.5, -1.0, 999.0, 1000.0, 1e30, 1.1e30, NAN, np.inf])
    assert values[valid_labels("binary", values)].tolist() == [0.0, 1.0]
    assert values[valid_labels("regression", values)].tolist() == [0, 1, 2, 0.5, -1, 999, 1000, 1e30]
    assert values[valid_labels("multiclass", values)].tolist() == [0, 1, 2, 999]


def packed(*shares: float) -> bytes:
    return np.array(shares, "<f4").tobytes()


def rows_of(*classes: bytes) -> Predictions:
    scores = [[Score("t", 0.5, 1, "", each), Score("u", 0.25, 1)] for each in classes]
    rows = [PredictionRow(bytes(16), at, "stable", "e", "", 1, some, {}, 5) for at, some in enumerate(scores)]
    return Predictions.of(rows, Words(), ())


def test_columns_keep_whose_probabilities_they_are() -> None:
    two, three, odd = rows_of(packed(0.25, 0.75), b""), rows_of(packed(0.5, 0.25, 0.25)), rows_of(b"xyz")
    both = Predictions.concat([two, three.take(np.array([True, True])), odd])
    assert len(both) == 8
    found = both.shares_of(np.arange(8))
    assert found[0].tolist()[:2] == [0.25, 0.75]
    assert found[4].tolist() == [0.5, 0.25, 0.25]
    assert np.isnan(found[[1, 2, 3, 5, 6, 7]]).all()
    last = Predictions.concat([both.take(np.array([4, 0])), both.take(np.array([], np.int64))])
    assert last.shares.tolist()[0] == [0.5, 0.25, 0.25]
    assert (last.shares_of(np.array([1]))[0, :2].tolist(), last.shares.shape) == ([0.25, 0.75], (2, 3))


def test_rows_of_binary_tasks_alone_carry_nothing_more() -> None:
    plain = rows_of(b"", b"")
    assert (plain.shares.size, plain.classes.tolist()) == (0, [])
    assert Predictions.concat([plain, plain]).shares.size == 0
