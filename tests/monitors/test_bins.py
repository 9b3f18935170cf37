"""Bins: a look-up of many scores finds what a search of each would."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors.bins import BINS_OVERALL, Bins

EDGES = st.lists(st.floats(0, 1), min_size=BINS_OVERALL - 1, max_size=BINS_OVERALL - 1)
ODD = [0.0, -0.0, 1.0, 5e-324, 1e-308, -1.0, 2.0, np.inf, -np.inf, np.nan, 1 - 2**-53]


@settings(deadline=None, max_examples=50)
@given(EDGES, st.lists(st.floats(), max_size=50), st.integers(0, 99))
def test_many_scores_fall_into_the_bins_that_each_alone_does(edges: list[float], more: list[float], seed: int) -> None:
    drawn = np.random.default_rng(seed).random(2_000)
    known = np.sort(edges)
    scores = np.concatenate([drawn, drawn**9, known, np.nextafter(known, 0), np.nextafter(known, 1), ODD, more])
    wanted = np.searchsorted(known, scores, side="right")
    assert Bins(known).of(scores).tolist() == wanted.tolist()


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0])
def test_frozen_bins_of_any_base_rate(scale: float) -> None:
    scores = np.random.default_rng(3).beta(0.5, 5, 5_000) * scale
    bins = Bins.freeze(scores)
    assert bins.of(scores).tolist() == np.searchsorted(bins.edges, scores, side="right").tolist()


def test_numbers_below_zero_have_bins_too() -> None:
    scores = np.random.default_rng(4).normal(size=5_000)
    bins = Bins.quantiles(scores)
    assert bins.of(scores).tolist() == [bins.of(np.array([each]))[0] for each in scores]
