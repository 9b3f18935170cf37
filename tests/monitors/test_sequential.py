"""Reference numbers with their source, and what must hold of every mixture."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitors.sequential import (
    CALIBRATION_TAUS,
    DIFFERENCE_TAUS,
    best_rho,
    bound,
    bound_two_sided,
    critical_z,
    delayed_start,
    log_e,
    log_mixture,
    log_mixture_two_sided,
    normal_from_t,
    t_from_normal,
)

# confseq, test/uniform_boundaries_unittest.cpp: v = v_opt = 100, alpha = .05


def test_the_best_rho_agrees_with_confseq() -> None:
    assert best_rho(100, 0.05, two_sided=True) == pytest.approx(12.60056, abs=1e-5)
    assert best_rho(100, 0.05) == pytest.approx(15.800635, abs=1e-6)


def test_the_two_sided_mixture_agrees_with_confseq() -> None:
    assert log_mixture_two_sided(10, 100, 12.60056) == pytest.approx(-0.6510052, abs=1e-6)
    assert bound_two_sided(100, 0.05, 12.60056) == pytest.approx(30.35209, abs=1e-5)


def test_the_one_sided_mixture_agrees_with_confseq() -> None:
    assert log_mixture(10, 100, 15.800635) == pytest.approx(-0.06502391, abs=1e-6)
    assert bound(100, 0.05, 15.800635) == pytest.approx(27.66071, abs=1e-5)


def test_further_values_of_the_one_sided_mixture() -> None:  # from the specification of the method
    assert log_mixture(30, 100, 25) == pytest.approx(3.484776, abs=1e-6)
    assert bound(100, 0.001, 25) / 10 == pytest.approx(4.189098, abs=1e-6)


def test_t_becomes_z_as_wallace_has_it() -> None:
    assert normal_from_t(4, 31) == pytest.approx(3.5632, abs=1e-4)


def test_a_delayed_start_agrees_with_robbins_and_siegmund() -> None:  # upper 5 % of a chi-square of 3 degrees
    assert delayed_start(0.05) == pytest.approx(7.814728, abs=1e-6)
    a = math.sqrt(delayed_start(0.05))
    phi = math.exp(-a * a / 2) / math.sqrt(2 * math.pi)
    assert 2 * (1 - 0.5 * math.erfc(-a / math.sqrt(2)) + a * phi) == pytest.approx(0.05, abs=1e-9)


@given(st.floats(-300, 300), st.floats(0.01, 1e7), st.floats(1, 1e5))
def test_the_stable_form_is_the_formula(z: float, info: float, rho: float) -> None:
    s = z * math.sqrt(info)
    x = s / math.sqrt(info + rho)
    if x < -30:  # there the plain formula underflows; the stable one must stay finite
        assert np.isfinite(log_mixture(s, info, rho))
        return
    plain = math.log(2 * 0.5 * math.erfc(-x / math.sqrt(2))) + math.log(rho / (info + rho)) / 2 + x * x / 2
    assert log_mixture(s, info, rho) == pytest.approx(plain, abs=1e-8, rel=1e-8)


@given(st.floats(-20, 20), st.floats(0.01, 5), st.floats(1, 1e6))
def test_more_excess_is_more_evidence(z: float, more: float, info: float) -> None:
    assert log_e([z + more], [info], DIFFERENCE_TAUS)[0] >= log_e([z], [info], DIFFERENCE_TAUS)[0]


@given(st.floats(1, 1e7), st.sampled_from([DIFFERENCE_TAUS, CALIBRATION_TAUS]), st.floats(1.5, 14))
def test_the_critical_z_is_where_e_reaches_its_limit(info: float, taus: tuple[float, ...], limit: float) -> None:
    z = critical_z([info], taus, [limit])
    assert log_e(z, [info], taus)[0] == pytest.approx(limit, abs=1e-3)


@given(st.floats(-8, 8), st.floats(4, 200))
def test_z_and_t_are_inverse(z: float, nu: float) -> None:
    assert normal_from_t(t_from_normal(z, nu), nu) == pytest.approx(z, abs=1e-6)


@pytest.mark.simulation
def test_a_brownian_motion_at_the_margin_passes_twenty_as_rarely_as_ville_says() -> None:
    rng = np.random.default_rng(1)
    paths, steps = 2_000, 400
    info = np.cumsum(np.full(steps, 50.0))
    s = np.cumsum(rng.normal(size=(paths, steps)) * np.sqrt(50.0), axis=1)
    ever = log_e(s / np.sqrt(info), np.broadcast_to(info, s.shape), DIFFERENCE_TAUS).max(axis=1)
    passed = int((ever >= math.log(20)).sum())
    # at most .05; 126 is the upper .995 of Binomial(2,000, .05)
    assert passed <= 126
