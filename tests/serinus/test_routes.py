"""A route table that could not be applied cannot be made."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serinus.rollouts import ENDS, Phase, Plan, Step
from serinus.routes import BUCKETS, NEAR_ABOVE_BP, PackageRef, RouteTable

REF = PackageRef(digest="ab", uri="file:///p")


def _table(**changes: Any) -> RouteTable:
    return RouteTable.model_validate(
        {"model": "ads", "epoch": 1, "stable": {"click": 1}, "packages": {1: REF}} | changes
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"candidate": {"click": 2}}, "no package is given for version 2"),
        ({"warm": (7,)}, "no package is given for version 7"),
        ({"canary_bp": 1}, "needs a candidate and an expiry"),
        ({"shadow_bp": 1, "candidate": {"click": 1}}, "needs a candidate and an expiry"),
        ({"canary_bp": BUCKETS + 1}, "canary_bp"),
        ({"epoch": 0}, "epoch"),
    ],
)
def test_a_table_says_what_is_wrong_with_it(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        _table(**changes)


versions = st.integers(1, 9)


@given(versions, versions, st.lists(versions, max_size=3))
def test_a_replica_must_hold_each_version_that_a_table_names(stable: int, candidate: int, warm: list[int]) -> None:
    table = _table(
        stable={"click": stable},
        candidate={"click": candidate},
        warm=tuple(warm),
        packages=dict.fromkeys((stable, candidate, *warm), REF),
    )
    assert table.versions() == {stable, candidate, *warm}
    assert RouteTable.model_validate_json(table.model_dump_json()) == table


@given(st.lists(st.integers(1, BUCKETS), min_size=1, max_size=6))
def test_a_plan_never_takes_entities_back(shares: list[int]) -> None:
    steps = tuple(Step(canary_bp=share, hold_s=1) for share in shares)
    if shares == sorted(shares):
        assert Plan(steps=steps).steps == steps
    else:
        with pytest.raises(ValidationError, match="must not fall"):
            Plan(steps=steps)


def test_the_default_plan_sees_a_week_before_it_promotes() -> None:
    assert Plan().cycle_s == 7 * 86_400
    assert Plan().steps[0].canary_bp == 100


def test_a_phase_is_its_word() -> None:
    assert {phase.value for phase in ENDS} == {"done", "rolled_back", "aborted", "superseded"}
    assert Phase("canary") is Phase.CANARY


@pytest.mark.parametrize(
    ("fields", "front", "candidate", "shadow"),
    [
        ({}, {1}, set(), set()),
        ({"warm": (3,)}, {1, 3}, set(), set()),
        ({"candidate": {"click": 2}}, {1}, {2}, {1, 2}),
        ({"candidate": {"click": 2}, "canary_bp": NEAR_ABOVE_BP}, {1}, {2}, {1, 2}),
        ({"candidate": {"click": 2}, "canary_bp": NEAR_ABOVE_BP + 1}, {1, 2}, {2}, {1, 2}),
    ],
)
def test_each_role_holds_what_it_answers_with(
    fields: dict[str, Any], front: set[int], candidate: set[int], shadow: set[int]
) -> None:
    table = _table(packages={1: REF, 2: REF, 3: REF}, expires_at=1e12, **fields)
    assert [table.needed(role) for role in ("front", "candidate", "shadow")] == [front, candidate, shadow]
    assert table.needed("front") | table.needed("candidate") <= table.versions()
