"""What is recorded where not everything is: by entity, always the same ones, and nothing that is excluded."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import Any

import numpy as np
import pytest

from serinus.records import InputRow
from serinus.routes import ServingPolicy
from serving.ask import Ask
from serving.assignment import bucket_of
from serving.rows import slices_of
from serving.sampling import sampled


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 1.0])
def test_a_share_of_the_entities_is_sampled_and_smaller_shares_lie_in_larger_ones(share: float) -> None:
    entities = [f"user-{number}" for number in range(20_000)]
    chosen = {entity for entity in entities if sampled(entity, share)}
    assert abs(len(chosen) - share * 20_000) <= 5 * (20_000 * share * (1 - share)) ** 0.5
    assert chosen == {entity for entity in entities if sampled(entity, share)}
    assert {entity for entity in entities if sampled(entity, share / 2)} <= chosen


def test_being_sampled_says_nothing_about_the_arm() -> None:
    arms = Counter((sampled(str(n), 0.5), bucket_of("salt", str(n)) < 5_000) for n in range(20_000))
    assert all(abs(count - 5_000) < 5 * (20_000 * 0.25 * 0.75) ** 0.5 for count in arms.values())
    assert len(arms) == 4


def test_a_slice_is_never_read_from_an_excluded_input() -> None:
    ask = Ask(None, None, "", (), 2, {"city": np.array(["a", "b"], object)}, attributes={"plan": "x"})
    assert slices_of(ask, ["city", "plan"], ("city", "plan")) == [{"plan": "x"}, {"plan": "x"}]


def test_inputs_are_recorded_for_the_sampled_entities_without_what_is_excluded(stack: Any, tools: Any) -> None:
    policy = ServingPolicy(log_share=0.5, inputs_share=0.25, inputs_exclude=("origin",))
    stack.route(serving=policy, slices=())
    ids = {}
    for number in range(60):
        entity = f"entity {number}"
        ids[uuid.UUID(stack.infer(f"SECRET{number}", None, 5.0, entity=entity)["id"]).bytes] = entity
    rows = {row.id: row for row in stack.predictions() if row.id in ids}
    inputs = {row.id: row for row in tools.read_log(stack.log, "inputs", InputRow) if row.id in ids}
    assert {row.entity for row in rows.values()} == {e for e in ids.values() if sampled(e, 0.5)}
    assert {row.entity for row in inputs.values()} == {e for e in ids.values() if sampled(e, 0.25)}
    assert {row.share for row in rows.values()} == {0.5}
    assert inputs.keys() < rows.keys()
    for row in inputs.values():
        tensors = {tensor.name: tensor for tensor in row.tensors}
        assert "origin" not in tensors
        assert (row.rows, row.share) == (1, 0.25)
        assert np.frombuffer(tensors["hour"].data, "<f4").tolist() == [5.0]
    for path in stack.log.rglob("*"):
        assert path.is_dir() or b"SECRET" not in path.read_bytes(), path
    stack.route()
