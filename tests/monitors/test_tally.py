"""What rows add to the cells of all slices at once, against adding them one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors.tally import Lots, coarser_blocks, folded


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.sampled_from([1, 3, 9, 10**7]), st.integers(1, 4))
def test_as_if_each_row_were_added_by_itself(seed: int, n: int, spread: int, slots: int) -> None:
    rng = np.random.default_rng(seed)
    side, label, user, bins = (rng.integers(0, size, n) for size in (2, 2, 5, 8))
    block, slot = rng.integers(2_000_000, 2_000_000 + spread, n), rng.integers(-1, slots, n)
    columns = rng.integers(0, 100, (n, 3)).astype(float)
    lots = Lots.of(side, user, 5, block)
    by_user, by_block = lots.sums(slot, slots, columns)
    counts_by_user, counts_by_block = lots.counts(slot, slots, label, bins, 8)
    keys = np.unique(block)
    np.testing.assert_array_equal(lots.blocks, keys)
    sums = np.zeros((slots, 2, 3, 5)), np.zeros((slots, 2, 3, len(keys)))
    counts = np.zeros((slots, 2, 2, 5, 8)), np.zeros((slots, 2, 2, len(keys), 8))
    for at in range(n):
        if slot[at] >= 0:
            for group, summed, counted in zip((user[at], np.searchsorted(keys, block[at])), sums, counts, strict=True):
                summed[slot[at], side[at], :, group] += columns[at]
                counted[slot[at], side[at], label[at], group, bins[at]] += 1
    for found, wanted in zip((by_user, by_block, counts_by_user, counts_by_block), (*sums, *counts), strict=True):
        np.testing.assert_array_equal(found, wanted)


@settings(deadline=None)
@given(st.lists(st.integers(-50, 50), min_size=1, max_size=20, unique=True), st.integers(1, 7))
def test_wider_blocks_and_fewer_bins_hold_the_same(keys: list[int], ratio: int) -> None:
    values = np.arange(2.0 * len(keys) * 8).reshape(2, len(keys), 8)
    wide, found = coarser_blocks(np.sort(np.array(keys)), values, ratio, 1)
    assert wide.tolist() == sorted({key // ratio for key in keys})
    np.testing.assert_array_equal(found.sum(axis=1), values.sum(axis=1))
    np.testing.assert_array_equal(folded(values, 4), values[..., ::2] + values[..., 1::2])
