"""Adding rows to the cells of all slices at once, against numpy's own indexing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitors.tally import add_counts, add_sums


@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_as_if_each_row_were_added_by_itself(seed: int, n: int, shape: list[int]) -> None:
    rng = np.random.default_rng(seed)
    axes = [rng.integers(0, size, n) for size in shape]
    columns = rng.integers(0, 100, (3, n)).astype(float)
    counts, sums = np.ones(shape), np.ones((*shape, 3))
    add_counts(counts, *axes)
    add_sums(sums, columns, *axes)
    expected, expected_sums = np.ones(shape), np.ones((*shape, 3))
    for row in range(n):
        at = tuple(axis[row] for axis in axes)
        expected[at] += 1
        expected_sums[at] += columns[:, row]
    np.testing.assert_array_equal(counts, expected)
    np.testing.assert_array_equal(sums, expected_sums)


def test_what_would_go_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match="contiguous"):
        add_counts(np.zeros((4, 4))[:, ::2], np.array([0]), np.array([0]))
    with pytest.raises(ValueError, match="axes"):
        add_counts(np.zeros((4, 4)), np.array([0]))
