"""AUC, calibration and log-loss of cells, against exact values and naive twins."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import log_loss, roc_auc_score

from monitors.accumulators import Cell, Layout
from monitors.bins import Bins
from monitors.days import DIFFERENCE_DAY_SD
from monitors.groupings import Users, concordant
from monitors.metrics import agreement, auc, auc_difference, auc_without_each, calibration, mean_loss, shift
from monitors.rows import Scored
from monitors.summands import Batch, columns_of
from monitors.verdicts import missing
from monitors.windows import Groups, Windows

HOUR_MS = 3_600_000


def rows_of(rng: np.random.Generator, n: int, noise: float, hours: int = 200) -> tuple[Scored, Scored]:
    """The same rows scored twice; the hour moves everybody's outcome."""
    event_ms = np.sort(rng.integers(0, hours * HOUR_MS, n))
    user = rng.integers(0, 500, n).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    truth = rng.normal(size=n) + rng.normal(size=hours)[event_ms // HOUR_MS] * 0.5 - 1
    y = (rng.random(n) < expit(truth)).astype(float)
    none = np.zeros((n, 0), np.int64)
    a, b = (expit(truth + rng.normal(size=n) * size) for size in (0.5, noise))
    return Scored(event_ms, user, y, a, none), Scored(event_ms, user, y, b, none)


def filled(sides: tuple[Scored, Scored], layout: Layout | None = None) -> Cell:
    """Each side in bins of its own."""
    cell = Cell.empty(layout)
    batch = Batch.of(*sides, columns_of(*sides))
    cell.add_sums(batch)
    bins = [Bins.freeze(rows.p).of(rows.p) if len(rows) else np.zeros(0, np.int64) for rows in sides]
    cell.add_scores(batch.with_bins(np.concatenate(bins)))
    cell.close()
    return cell


def groups_of(cell: Cell) -> list[tuple[int, np.ndarray, Groups]]:
    """Width (0: users), keys and groups of all that the variance is taken over."""
    windows = Windows.of(cell)
    times = [blocks for blocks in cell.times if not blocks.dropped]
    return [(0, np.arange(cell.users.groups), windows.users)] + [
        (blocks.width_ms, blocks.keys, groups) for blocks, groups in zip(times, windows.times, strict=True)
    ]


def auc_of(cell: Cell) -> np.ndarray:
    return auc(Windows.of(cell).pooled[0])


def test_delong_s_example() -> None:  # DeLong, DeLong and Clarke-Pearson 1988: AUC .75, variance 5/108
    positives, negatives = np.array([0.8, 0.6, 0.4]), np.array([0.5, 0.3, 0.2, 0.7])
    above = (positives[:, None] > negatives).astype(float)
    v10, v01 = above.mean(axis=1), above.mean(axis=0)
    assert v10.var(ddof=1) / 3 + v01.var(ddof=1) / 4 == pytest.approx(5 / 108)
    y, p = np.repeat([1.0, 0.0], [3, 4]), np.concatenate([positives, negatives])
    zeros = np.zeros(7, np.int64)
    rows = Scored(zeros, zeros.astype(np.uint64), y, p, np.zeros((7, 0), np.int64))
    assert auc_of(filled((rows, rows))) == pytest.approx([0.75, 0.75])


def test_the_jackknife_over_rows_is_delong() -> None:
    """With one row a group, leaving groups out gives the DeLong variance but for terms of order 1/n."""
    rng = np.random.default_rng(0)
    a, _ = rows_of(rng, 4_000, 0.5)
    alone = Scored(a.event_ms, np.arange(4_000, dtype=np.uint64), a.y, np.round(a.p, 1), a.slices)
    above = np.subtract.outer(alone.p[alone.y == 1], alone.p[alone.y == 0])
    wins = (above > 0) + 0.5 * (above == 0)
    delong = wins.mean(axis=1).var(ddof=1) / len(wins) + wins.mean(axis=0).var(ddof=1) / wins.shape[1]
    bins = np.round(alone.p * 10).astype(np.int64) * 4
    by_row = Users.empty(4_000, 5, 64)
    side = np.repeat([0, 1], 4_000)
    twice = np.tile(np.arange(4_000), 2)
    by_row.add_scores(0, twice, 2 * side + np.tile(alone.y.astype(int), 2), np.tile(bins, 2))
    hist = by_row.hist.astype(float)
    groups = Groups(by_row.sums, np.ones((1, 4_000), bool), hist, concordant(hist))
    without = auc_without_each(groups, hist.sum(axis=3))[0, 0]
    assert 3_999 / 4_000 * np.square(without - without.mean()).sum() == pytest.approx(delong, rel=0.01)


def test_leaving_out_each_row_of_a_class_gives_delong_s_variance_to_the_last_digit() -> None:
    """DeLong's example, 5/108: each row is a group of its own; the jackknife of each class, added up."""
    p = np.array([0.8, 0.6, 0.4, 0.5, 0.3, 0.2, 0.7])
    y, rows = np.repeat([1, 0], [3, 4]), np.arange(7)
    by_row = Users.empty(7, 5, 64)
    for side in (0, 1):
        by_row.add_scores(0, rows, 2 * np.full(7, side) + y, (p * 10).round().astype(np.int64))
    hist = by_row.hist.astype(float)
    groups = Groups(by_row.sums, np.ones((1, 7), bool), hist, concordant(hist))
    without = auc_without_each(groups, hist.sum(axis=3))[0, 0]
    parts = [without[y == label] for label in (1, 0)]
    variance = sum((len(each) - 1) / len(each) * np.square(each - each.mean()).sum() for each in parts)
    assert auc(hist.sum(axis=3))[0, 0] == pytest.approx(0.75)
    assert variance == pytest.approx(5 / 108, rel=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.integers(200, 3_000), st.floats(0.1, 2))
def test_the_pooled_auc_is_scikit_learn_s(seed: int, n: int, noise: float) -> None:
    a, b = rows_of(np.random.default_rng(seed), n, noise)
    if not 0 < a.y.sum() < n:
        return
    exact = [roc_auc_score(rows.y, rows.p) for rows in (a, b)]
    assert auc_of(filled((a, b))) == pytest.approx(exact, abs=0.004 if a.y.sum() < 100 else 0.001)


def test_the_error_of_256_bins_is_a_ten_thousandth() -> None:
    a, b = rows_of(np.random.default_rng(5), 40_000, 1.0)
    assert auc_of(filled((a, b))) == pytest.approx([roc_auc_score(r.y, r.p) for r in (a, b)], abs=1e-4)


@pytest.mark.parametrize("paired", [True, False])
def test_leaving_a_group_out_is_computing_it_again_without(paired: bool) -> None:
    rng = np.random.default_rng(2)
    a, b = rows_of(rng, 1_500, 1.0)
    if not paired:
        _, b = rows_of(rng, 1_100, 1.0)
    cell = filled((a, b))
    edges = [Bins.freeze(rows.p) for rows in (a, b)]
    coarse = cell.users.hist.sum(axis=3).astype(float)
    for width, keys, groups in groups_of(cell):
        fast = auc_without_each(groups, coarse)[0]
        for at, key in enumerate(keys):
            for side, (rows, bins) in enumerate(zip((a, b), edges, strict=True)):
                group = rows.entity % 64 if width == 0 else rows.event_ms // width
                left = group != key
                slow = roc_auc_score(rows.y[left], bins.of(rows.p[left]) // 4)
                assert fast[side, at] == pytest.approx(slow, abs=1e-12)


def test_the_ratios_and_their_variance_are_a_naive_jackknife_s() -> None:
    a, b = rows_of(np.random.default_rng(3), 6_000, 0.9)
    cell = filled((a, b))
    day = a.event_ms // 86_400_000

    def values(left: np.ndarray) -> np.ndarray:
        la, lb = (log_loss(rows.y[left], rows.p[left], labels=[0, 1]) for rows in (a, b))
        r = [np.log(rows.p[left].sum() / rows.y[left].sum()) for rows in (a, b)]
        return np.array([r[1] - r[0], r[1] + r[0], lb / la - 1])

    windows = Windows.of(cell)
    readings = calibration(windows), mean_loss(windows, labelled=True)
    found = np.concatenate([reading.value[:, 0] for reading in readings])
    assert found == pytest.approx(values(np.ones(len(a), bool)), abs=1e-6)
    largest = np.zeros(3)
    groups = [a.entity % 64, *(a.event_ms // width for width in (3_600_000, 21_600_000, 86_400_000))]
    for group in groups[:1] + groups[2:]:  # 200 hours are more than 90 blocks, so the hours are dropped
        keys = np.unique(group)
        without = np.array([values(group != key) for key in keys])
        largest = np.maximum(
            largest, (len(keys) - 1) / len(keys) * np.square(without - without.mean(axis=0)).sum(axis=0)
        )
    assert np.concatenate([reading.variance[:, 0] for reading in readings]) == pytest.approx(largest, rel=0.1)
    assert len(np.unique(day)) == 9


def test_the_same_model_twice_has_no_variance() -> None:
    a, _ = rows_of(np.random.default_rng(4), 3_000, 0.5)
    cell = filled((a, a))
    assert missing(cell) == ("", None)
    windows = Windows.of(cell)
    for reading in (auc_difference(windows), mean_loss(windows, labelled=True), agreement(windows), shift(windows)):
        assert reading.value[0, 0] == 0
        assert reading.variance[0, 0] < 1e-12


def test_before_five_blocks_hold_positives_users_count_sixteenfold() -> None:
    a, b = rows_of(np.random.default_rng(4), 3_000, 0.9, hours=1)
    early = np.full(len(a), 5)
    a, b = (Scored(early, rows.entity, rows.y, rows.p, rows.slices) for rows in (a, b))
    cell = filled((a, b))
    windows = Windows.of(cell)
    reading = auc_difference(windows)
    without = auc_without_each(windows.users, windows.users.hist.sum(axis=3))[0]
    delta = without[0] - without[1]
    by_user = 63 / 64 * np.square(delta - delta.mean()).sum()
    assert reading.variance[0, 0] == pytest.approx(16 * by_user + DIFFERENCE_DAY_SD**2)
    assert reading.nu[0, 0] == 63


def test_what_is_missing_is_said_in_words() -> None:
    a, b = rows_of(np.random.default_rng(4), 60, 0.9)
    assert missing(Cell.empty()) == ("no mature label yet", None)
    positives = int(a.y.sum())
    more = math.ceil((30 - positives) * 60 / positives)
    assert missing(filled((a, b))) == (f"{positives} of 30 positives; about {more} more labels", more)
    assert missing(filled((a, Scored.empty()))) == ("no mature label yet", None)
    one_user = Scored(
        np.arange(100), np.zeros(100, np.uint64), np.arange(100) % 2.0, a.p[:1].repeat(100), np.zeros((100, 0), int)
    )
    assert missing(filled((one_user, one_user))) == ("positives in 1 of 15 groups of users", None)
    assert missing(filled((one_user, one_user)), rows_only=True) == ("rows in 1 of 15 groups of users", None)
