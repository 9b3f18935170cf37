"""Merging is having seen both; state goes through a file unchanged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors.accumulators import Cell, Layout
from monitors.bins import BINS_OVERALL, Bins, coarser
from monitors.groupings import MAX_BLOCKS
from monitors.rows import Scored
from monitors.summands import Batch, columns_of
from monitors.windows import Windows

EDGES = Bins.freeze(np.linspace(0.01, 0.99, 500))
Row = tuple[int, int, int, float]
rows = st.lists(
    st.tuples(st.integers(0, 10**9), st.integers(0, 2**64 - 1), st.integers(0, 1), st.floats(0, 1)), max_size=30
)


SIZES = Layout(boundaries=(86_400_000, 5 * 86_400_000)), Layout(users=32, columns=2, bins=16, pooled=128)


def scored(part: list[Row]) -> Scored:
    return Scored(
        np.array([row[0] for row in part], np.int64),
        np.array([row[1] for row in part], np.uint64),
        np.array([row[2] for row in part], float),
        np.array([row[3] for row in part], float),
        np.zeros((len(part), 0), np.int64),
    )


def seen(a: list[Row], b: list[Row], layout: Layout = SIZES[0]) -> Cell:
    """The sides come one after the other, so that they are no pairs."""
    cell, none = Cell.empty(layout), scored([])
    for sides in ((scored(a), none), (none, scored(b))):
        batch = Batch.of(*sides, columns_of(*sides))
        cell.add_sums(batch)
        cell.add_scores(batch.with_bins(EDGES.of(np.concatenate([sides[0].p, sides[1].p]))))
    cell.close()
    return cell


def same(a: Cell, b: Cell) -> bool:
    """To the last bit: sums are exact, so that no order shows."""
    first, second = a.state(), b.state()
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


@settings(deadline=None)
@given(rows, rows, rows, rows, st.sampled_from(SIZES))
def test_merging_is_having_seen_both(a: list[Row], b: list[Row], c: list[Row], d: list[Row], layout: Layout) -> None:
    assert same(seen(a, b, layout).merge(seen(c, d, layout)), seen(a + c, b + d, layout))
    assert same(seen(c, d, layout).merge(seen(a, b, layout)), seen(a + c, b + d, layout))


@settings(deadline=None)
@given(rows, rows)
def test_the_empty_cell_is_the_identity(a: list[Row], b: list[Row]) -> None:
    assert same(seen(a, b).merge(Cell.empty(SIZES[0])), seen(a, b))
    assert same(Cell.empty(SIZES[0]).merge(seen(a, b)), seen(a, b))
    assert same(Cell.empty(SIZES[0]).merge(Cell.empty(SIZES[0])), Cell.empty(SIZES[0]))


@settings(deadline=None)
@given(rows, rows, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_show(a: list[Row], b: list[Row], random: object) -> None:
    mixed = list(a)
    random.shuffle(mixed)
    assert same(seen(a, b), seen(mixed, b))


def test_state_comes_back_as_it_went() -> None:
    cell = seen([(5, 6, 1, 0.3)], [(10**8, 6, 0, 0.7)])
    assert same(Cell.of_state(cell.state(), SIZES[0]), cell)
    with pytest.raises(ValueError, match="belongs"):
        Cell.of_state(cell.state(), SIZES[1])


def test_a_fine_grouping_ends_after_90_blocks_and_the_days_go_on() -> None:
    ten_minutes = [(at * 600_000, at, at % 2, 0.5) for at in range(MAX_BLOCKS + 1)]
    cell = seen(ten_minutes, ten_minutes)
    assert [blocks.dropped for blocks in cell.times] == [True, False, False, False]
    days = [(at * 86_400_000, at, at % 2, 0.5) for at in range(120)]
    cell = seen(days, days)
    assert [blocks.dropped for blocks in cell.times] == [True, True, True, False]
    assert len(cell.times[-1].keys) == 120


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


@settings(deadline=None)
@given(rows, rows)
def test_what_came_since_a_restart_is_what_a_cell_of_its_own_would_have_seen(a: list[Row], b: list[Row]) -> None:
    """Users and blocks of time, at both restarts."""
    whole = Windows.of(seen(a, b))
    for at, boundary in enumerate(SIZES[0].boundaries[: len(whole.totals) - 1], 1):
        late = Windows.of(seen([row for row in a if row[0] >= boundary], [row for row in b if row[0] >= boundary]))
        assert np.array_equal(whole.totals[at], late.totals[0])
        assert np.array_equal(whole.pooled[at], late.pooled[0])
        assert np.array_equal(whole.users.hist[at], late.users.hist[0])
        days, own = whole.times[-1], late.times[-1]
        assert np.array_equal(days.sums[0][:, :, days.held[at]], own.sums[0][:, :, own.held[0]])
