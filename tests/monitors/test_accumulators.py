"""Merging is having seen both; state goes through a file unchanged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors.accumulators import Cell, columns_of
from monitors.bins import BINS_OVERALL, Bins, coarser
from monitors.groupings import MAX_BLOCKS
from monitors.rows import Scored

EDGES = Bins.freeze(np.linspace(0.01, 0.99, 500))
Row = tuple[int, int, int, float]
rows = st.lists(
    st.tuples(st.integers(0, 10**9), st.integers(0, 2**64 - 1), st.integers(0, 1), st.floats(0, 1)), max_size=30
)


def seen(a: list[Row], b: list[Row], overall: bool = True) -> Cell:
    cell = Cell.empty(overall=overall)
    for side, part in enumerate((a, b)):
        scored = Scored(
            np.array([row[0] for row in part], np.int64),
            np.array([row[1] for row in part], np.uint64),
            np.array([row[2] for row in part], float),
            np.array([row[3] for row in part], float),
            np.zeros((len(part), 0), np.int64),
        )
        where = np.full(len(part), side)
        cell.add_sums(scored, where, columns_of(scored))
        cell.add_scores(scored, where, EDGES.of(scored.p))
    cell.close()
    return cell


def same(a: Cell, b: Cell) -> bool:
    """To the last bit: sums are exact, so that no order shows."""
    first, second = a.state(), b.state()
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


@settings(deadline=None)
@given(rows, rows, rows, rows, st.booleans())
def test_merging_is_having_seen_both(a: list[Row], b: list[Row], c: list[Row], d: list[Row], overall: bool) -> None:
    assert same(seen(a, b, overall).merge(seen(c, d, overall)), seen(a + c, b + d, overall))
    assert same(seen(c, d, overall).merge(seen(a, b, overall)), seen(a + c, b + d, overall))


@settings(deadline=None)
@given(rows, rows)
def test_the_empty_cell_is_the_identity(a: list[Row], b: list[Row]) -> None:
    assert same(seen(a, b).merge(Cell.empty(overall=True)), seen(a, b))
    assert same(Cell.empty(overall=True).merge(seen(a, b)), seen(a, b))
    assert same(Cell.empty(overall=True).merge(Cell.empty(overall=True)), Cell.empty(overall=True))


@settings(deadline=None)
@given(rows, rows, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_show(a: list[Row], b: list[Row], random: object) -> None:
    mixed = list(a)
    random.shuffle(mixed)
    assert same(seen(a, b), seen(mixed, b))


def test_state_comes_back_as_it_went() -> None:
    cell = seen([(5, 6, 1, 0.3)], [(10**8, 6, 0, 0.7)])
    assert same(Cell.of_state(cell.state()), cell)


def test_a_fine_grouping_ends_after_90_blocks_and_the_days_go_on() -> None:
    ten_minutes = [(at * 600_000, at, at % 2, 0.5) for at in range(MAX_BLOCKS + 1)]
    cell = seen(ten_minutes, ten_minutes)
    assert [grouping.dropped for grouping in cell.groupings] == [False, True, False, False, False]
    days = [(at * 86_400_000, at, at % 2, 0.5) for at in range(120)]
    cell = seen(days, days)
    assert [grouping.dropped for grouping in cell.groupings] == [False, True, True, True, False]
    assert len(cell.groupings[-1].keys) == 120


@pytest.mark.parametrize(
    "scores", [np.full(300, 0.2), np.random.default_rng(1).beta(1, 30, 300), np.array([0.0]), np.array([1.0] * 7)]
)
def test_bins_rise_and_hold_every_score(scores: np.ndarray) -> None:
    bins = Bins.freeze(scores)
    assert len(bins.edges) == BINS_OVERALL - 1
    assert np.all(np.diff(bins.edges) >= 0)
    places = bins.of(np.array([0.0, *np.sort(scores), 1.0]))
    assert np.all(np.diff(places) >= 0)
    assert places.min() >= 0
    assert places.max() < BINS_OVERALL
    assert coarser(places, 64).max() < 64


def test_bins_do_not_depend_on_the_order_of_the_sample() -> None:
    scores = np.random.default_rng(1).beta(1, 30, 999)
    assert np.array_equal(Bins.freeze(scores).edges, Bins.freeze(scores[::-1]).edges)
