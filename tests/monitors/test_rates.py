"""Two arms that fail."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitors.rates import RATE_RATIOS, FailureCounts, log_e_two_arms

ticks = st.lists(
    st.tuples(st.integers(1, 50), st.integers(1, 50), st.integers(0, 5), st.integers(0, 5)), min_size=0, max_size=8
)


def counted(rows: list[tuple[int, int, int, int]]) -> FailureCounts:
    counts = FailureCounts()
    for exposure_a, exposure_b, failed_a, failed_b in rows:
        counts.add(np.array([exposure_a, exposure_b], float), np.array([failed_a, failed_b], float))
    return counts


def test_the_reference_value_of_one_segment() -> None:  # from the specification of the method
    assert log_e_two_arms(12, 30, 0.1, 1.5) == pytest.approx(1.761525, abs=1e-6)


@given(ticks.filter(lambda rows: any(row[2] + row[3] for row in rows)), st.floats(1.0, 3.0))
def test_segments_are_multiplied_inside_each_ratio(rows: list[tuple[int, int, int, int]], k: float) -> None:
    def pi(r: float, f: float) -> float:
        return f * r / (f * r + 1 - f)

    naive = 0.0
    for ratio in RATE_RATIOS:
        product = 1.0
        for exposure_a, exposure_b, a, b in rows:
            f = exposure_b / (exposure_a + exposure_b)
            product *= (pi(k * ratio, f) / pi(k, f)) ** b * ((1 - pi(k * ratio, f)) / (1 - pi(k, f))) ** a
        naive += product / len(RATE_RATIOS)
    assert counted(rows).log_e(k) == pytest.approx(math.log(naive), abs=1e-9)


@given(ticks, ticks)
def test_merging_is_having_seen_both(a: list[tuple[int, int, int, int]], b: list[tuple[int, int, int, int]]) -> None:
    merged, both = counted(a).merge(counted(b)), counted([*a, *b])
    assert merged.log_e(1.5) == pytest.approx(both.log_e(1.5), abs=1e-12)
    assert merged.exposure.tolist() == both.exposure.tolist()
    assert counted(a).merge(FailureCounts()).log_e(1.5) == pytest.approx(counted(a).log_e(1.5), abs=1e-12)


def test_the_interval_holds_the_ratio_and_leaves_out_what_is_excluded() -> None:
    counts = counted([(100, 100, 10, 40)] * 5)
    low, high = counts.interval(math.log(40)) or (math.nan, math.nan)
    assert low < math.log(4) < high
    assert counts.log_e(math.exp(low)) == pytest.approx(math.log(40), abs=1e-3)
    assert counts.log_e(math.exp(high), rising=False) == pytest.approx(math.log(40), abs=1e-3)


def test_a_tick_with_one_arm_says_nothing() -> None:
    assert counted([]).log_e(1.5) == 0
    counts = FailureCounts()
    counts.add(np.array([0.0, 10.0]), np.array([0.0, 10.0]))
    assert counts.log_e(1.5) == 0
    assert counts.log_ratio() is None


@pytest.mark.simulation
def test_equal_rates_at_the_margin_are_called_violated_as_rarely_as_promised() -> None:
    rng = np.random.default_rng(3)
    passed = 0
    for _ in range(200):
        counts, ever = FailureCounts(), False
        for _ in range(40):
            exposure = np.array([rng.integers(50, 100), rng.integers(5, 100)], float)
            counts.add(exposure, rng.binomial(exposure.astype(int), [0.02, 0.03]).astype(float))
            ever |= counts.log_e(1.5) >= math.log(20)
        passed += ever
    assert passed <= 19  # upper .995 of Binomial(200, .05)
