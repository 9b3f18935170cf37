"""The split: sticky, monotone, disjoint, of equal size."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from serinus.routes import BUCKETS, RouteTable
from serving.assignment import arm_of, bucket_of, shadowed, shares

shares_bp = st.integers(0, BUCKETS)


@given(shares_bp)
def test_canary_and_control_are_of_equal_size_and_as_large_as_asked(canary_bp: int) -> None:
    sizes = Counter(arm_of(bucket, canary_bp) for bucket in range(BUCKETS))
    assert sizes["canary"] == canary_bp
    assert sizes["control"] == min(canary_bp, BUCKETS - canary_bp)


@given(st.integers(0, BUCKETS - 1), shares_bp, shares_bp)
def test_a_growing_share_only_moves_entities_into_the_canary(bucket: int, one: int, other: int) -> None:
    small, large = sorted((one, other))
    if arm_of(bucket, small) == "canary":
        assert arm_of(bucket, large) == "canary"


@given(st.integers(0, BUCKETS - 1), st.integers(0, BUCKETS // 2), st.integers(0, BUCKETS // 2))
def test_up_to_one_half_nobody_leaves_the_control(bucket: int, one: int, other: int) -> None:
    small, large = sorted((one, other))
    if arm_of(bucket, small) == "control":
        assert arm_of(bucket, large) == "control"


@given(st.text(), st.text())
def test_a_bucket_is_a_number_of_the_range_and_always_the_same(salt: str, key: str) -> None:
    assert 0 <= bucket_of(salt, key) == bucket_of(salt, key) < BUCKETS


def test_a_bucket_is_what_it_was_when_the_first_rollout_began() -> None:
    """Golden values: another hash would move every entity of a running rollout."""
    assert [bucket_of("rollout-1", key) for key in ("N12345", "N54321", "")] == [1432, 5852, 333]


def test_buckets_are_uniform_and_salts_are_independent() -> None:
    keys = [f"N{i}" for i in range(20_000)]
    tenths = Counter(bucket_of("a", key) // 1000 for key in keys)
    assert sum((count - 2000) ** 2 / 2000 for count in tenths.values()) < 33.7  # chi-square, 9 d.f., p = 1e-4
    both = sum(bucket_of("a", key) < 1000 and bucket_of("b", key) < 1000 for key in keys)
    assert abs(both - 200) < 70  # five standard deviations


def test_shadow_copies_are_taken_by_another_hash() -> None:
    keys = [f"N{i}" for i in range(20_000)]
    both = sum(bucket_of("a", key) < 1000 and shadowed("a", key.encode(), 1000) for key in keys)
    assert abs(both - 200) < 70
    assert all(shadowed("a", key.encode(), BUCKETS) for key in keys[:100])
    assert not any(shadowed("a", key.encode(), 0) for key in keys[:100])


def table(**fields: Any) -> RouteTable:
    packages = {version: {"digest": "d", "uri": "file:///x"} for version in (1, 2)}
    both: dict[str, Any] = {"model": "m", "epoch": 1, "stable": {"t": 1}, "candidate": {"t": 2}, "packages": packages}
    return RouteTable.model_validate(both | fields)


def test_an_expired_table_has_no_shares() -> None:
    running = table(canary_bp=100, shadow_bp=500, expires_at=1000.0)
    assert shares(running, 999.9) == (100, 500)
    assert shares(running, 1000.0) == (0, 0)
    assert shares(table(), 0.0) == (0, 0)
