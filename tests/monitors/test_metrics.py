"""AUC, calibration and log-loss of cells, against exact values and naive twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from monitors.accumulators import Cell, columns_of
from monitors.bins import Bins
from monitors.groupings import Grouping
from monitors.metrics import Ranks, auc, auc_difference, auc_without_each, calibration, log_loss, missing
from monitors.rows import Scored

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


def filled(sides: tuple[Scored, Scored], *, overall: bool = True) -> Cell:
    cell = Cell.empty(overall=overall)
    for side, rows in enumerate(sides):
        where = np.full(len(rows), side)
        cell.add_sums(rows, where, columns_of(rows))
        if len(rows):
            cell.add_scores(rows, where, Bins.freeze(rows.p).of(rows.p))
    cell.close()
    return cell


def test_delong_s_example() -> None:  # DeLong, DeLong and Clarke-Pearson 1988: AUC .75, variance 5/108
    positives, negatives = np.array([0.8, 0.6, 0.4]), np.array([0.5, 0.3, 0.2, 0.7])
    above = (positives[:, None] > negatives).astype(float)
    v10, v01 = above.mean(axis=1), above.mean(axis=0)
    assert v10.var(ddof=1) / 3 + v01.var(ddof=1) / 4 == pytest.approx(5 / 108)
    y, p = np.repeat([1.0, 0.0], [3, 4]), np.concatenate([positives, negatives])
    zeros = np.zeros(7, np.int64)
    rows = Scored(zeros, zeros.astype(np.uint64), y, p, np.zeros((7, 0), np.int64))
    assert auc(filled((rows, rows)).pooled) == pytest.approx([0.75, 0.75])


def test_the_jackknife_over_rows_is_delong() -> None:
    """With one row a group, leaving groups out gives the DeLong variance but for terms of order 1/n."""
    rng = np.random.default_rng(0)
    a, _ = rows_of(rng, 4_000, 0.5)
    alone = Scored(a.event_ms, np.arange(4_000, dtype=np.uint64), a.y, np.round(a.p, 1), a.slices)
    above = np.subtract.outer(alone.p[alone.y == 1], alone.p[alone.y == 0])
    wins = (above > 0) + 0.5 * (above == 0)
    delong = wins.mean(axis=1).var(ddof=1) / len(wins) + wins.mean(axis=0).var(ddof=1) / wins.shape[1]
    by_row = Grouping.empty(0, 64, users=4_000)
    bins = np.round(alone.p * 10).astype(np.int64) * 4
    for side in (np.zeros(4_000, np.int64), np.ones(4_000, np.int64)):
        by_row.add_sums(alone, side, columns_of(alone))
        by_row.add_scores(alone, side, bins)
    without = auc_without_each(by_row, Ranks.of(by_row.hist.sum(axis=2)))[0]
    assert 3_999 / 4_000 * np.square(without - without.mean()).sum() == pytest.approx(delong, rel=0.01)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.integers(200, 3_000), st.floats(0.1, 2))
def test_the_pooled_auc_is_scikit_learn_s(seed: int, n: int, noise: float) -> None:
    a, b = rows_of(np.random.default_rng(seed), n, noise)
    if not 0 < a.y.sum() < n:
        return
    exact = [roc_auc_score(rows.y, rows.p) for rows in (a, b)]
    assert auc(filled((a, b)).pooled) == pytest.approx(exact, abs=0.004 if a.y.sum() < 100 else 0.001)


def test_the_error_of_256_bins_is_a_ten_thousandth() -> None:
    a, b = rows_of(np.random.default_rng(5), 40_000, 1.0)
    assert auc(filled((a, b)).pooled) == pytest.approx([roc_auc_score(r.y, r.p) for r in (a, b)], abs=1e-4)


@pytest.mark.parametrize("paired", [True, False])
def test_leaving_a_group_out_is_computing_it_again_without(paired: bool) -> None:
    rng = np.random.default_rng(2)
    a, b = rows_of(rng, 1_500, 1.0)
    if not paired:
        _, b = rows_of(rng, 1_100, 1.0)
    cell = filled((a, b))
    edges = [Bins.freeze(rows.p) for rows in (a, b)]
    for grouping in cell.groupings:
        pooled = cell.pooled.reshape(2, 2, grouping.bins, -1).sum(axis=3)
        fast = auc_without_each(grouping, Ranks.of(pooled))
        for at, key in enumerate(grouping.keys):
            for side, (rows, bins) in enumerate(zip((a, b), edges, strict=True)):
                coarse = bins.of(rows.p) // (256 // grouping.bins)
                group = rows.entity % 64 if grouping.width_ms == 0 else rows.event_ms // grouping.width_ms
                left = group != key
                slow = roc_auc_score(rows.y[left], coarse[left])
                assert fast[side, at] == pytest.approx(slow, abs=1e-12)


def test_the_ratios_and_their_variance_are_a_naive_jackknife_s() -> None:
    a, b = rows_of(np.random.default_rng(3), 6_000, 0.9)
    cell = filled((a, b))
    day = a.event_ms // 86_400_000

    def values(left: np.ndarray) -> np.ndarray:
        la, lb = (columns_of(rows)[left, 3].mean() for rows in (a, b))
        r = [np.log(rows.p[left].sum() / rows.y[left].sum()) for rows in (a, b)]
        return np.array([r[1] - r[0], r[1] + r[0], lb / la - 1])

    contrasts = (*calibration(cell).contrasts, *log_loss(cell).contrasts)
    assert [each.value for each in contrasts] == pytest.approx(values(np.ones(len(a), bool)), abs=1e-6)
    largest = np.zeros(3)
    groups = [a.entity % 64, *(a.event_ms // width for width in (3_600_000, 21_600_000, 86_400_000))]
    for group in groups[:1] + groups[2:]:  # 200 hours are more than 90 blocks, so the hours are dropped
        keys = np.unique(group)
        without = np.array([values(group != key) for key in keys])
        largest = np.maximum(
            largest, (len(keys) - 1) / len(keys) * np.square(without - without.mean(axis=0)).sum(axis=0)
        )
    assert [each.variance for each in contrasts] == pytest.approx(largest, rel=0.1)
    assert len(np.unique(day)) == 9


def test_the_same_model_twice_has_no_variance() -> None:
    a, _ = rows_of(np.random.default_rng(4), 3_000, 0.5)
    cell = filled((a, a))
    assert missing(cell) == ""
    for reading in (auc_difference(cell), log_loss(cell)):
        assert reading.contrasts[0].value == 0
        assert reading.contrasts[0].variance < 1e-12


def test_before_five_blocks_hold_positives_users_count_sixteenfold() -> None:
    a, b = rows_of(np.random.default_rng(4), 3_000, 0.9, hours=1)
    early = np.full(len(a), 5)
    a, b = (Scored(early, rows.entity, rows.y, rows.p, rows.slices) for rows in (a, b))
    cell = filled((a, b))
    reading = auc_difference(cell).contrasts[0]
    users = cell.groupings[0]
    without = auc_without_each(users, Ranks.of(cell.pooled))
    delta = without[0] - without[1]
    assert reading.variance == pytest.approx(16 * 63 / 64 * np.square(delta - delta.mean()).sum())
    assert reading.nu == 63


def test_what_is_missing_is_said_in_words() -> None:
    a, b = rows_of(np.random.default_rng(4), 60, 0.9)
    assert missing(Cell.empty(overall=True)) == "no mature label yet"
    assert missing(filled((a, b))) == f"{a.y.sum():.0f} positives, 30 needed"
    assert missing(filled((a, Scored.empty()))) == "no mature label yet"
    one_user = Scored(
        np.arange(100), np.zeros(100, np.uint64), np.arange(100) % 2.0, a.p[:1].repeat(100), np.zeros((100, 0), int)
    )
    assert missing(filled((one_user, one_user))) == "positives in 1 groups of users, 15 needed"
