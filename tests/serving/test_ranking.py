"""Rankings: the order and the scores are numpy's, the probabilities those of single requests, whatever the arm."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.routes import RouteTable
from serving.applied import Applied, apply
from serving.ask import Ask, Output
from serving.chosen import taken
from serving.ranking import FLOOR, Ranking, log_scores
from serving.runtime import load
from serving.shadowing import Copy

TASKS = {"click": 1, "buy": 1}
probabilities = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40)
exponents = st.dictionaries(st.sampled_from(["click", "buy", "gone"]), st.floats(-3, 3), max_size=3)


def outputs_of(values: Mapping[str, Any]) -> list[Output]:
    return [Output(task, np.asarray(found, np.float32), 1) for task, found in values.items()]


@given(probabilities, exponents, st.data())
def test_scores_are_products_of_powers_and_fall(p: list[float], weights: dict[str, float], data: Any) -> None:
    q = data.draw(st.lists(st.floats(0, 1, width=32), min_size=len(p), max_size=len(p)))
    ranking = Ranking(weights, TASKS)
    ranking.top = data.draw(st.integers(1, len(p)))
    index = ranking.choose(outputs_of({"click": p, "buy": q}), len(p))
    used = {task: weights.get(task, 0.0) for task in TASKS} if weights else {"click": 1.0, "buy": 1.0}
    columns = {"click": np.maximum(p, FLOOR), "buy": np.maximum(q, FLOOR)}
    powers = [columns[task].astype(np.float64) ** used[task] for task in TASKS]
    oracle = powers[0] * powers[1]
    assert len(index) == ranking.top == len(set(index))
    np.testing.assert_allclose(ranking.scores, oracle[index], rtol=1e-6)
    assert all(np.diff(ranking.scores) <= 0)
    left = [at for at in range(len(p)) if at not in index]
    assert all(oracle[at] <= ranking.scores[-1] * (1 + 1e-6) for at in left)


def test_equals_stay_in_the_order_of_the_request() -> None:
    ranking = Ranking({}, {"click": 1})
    assert ranking.choose(outputs_of({"click": [0.5, 0.7, 0.5, 0.7, 0.5]}), 5) == [1, 3, 0, 2, 4]


def test_what_is_no_number_or_zero_is_last_and_scores_stay_numbers() -> None:
    ranking = Ranking({"click": 100.0}, {"click": 1})
    assert ranking.choose(outputs_of({"click": [np.nan, 0.1, 0.0, 0.2]}), 4) == [3, 1, 0, 2]
    assert np.isfinite(ranking.scores).all()
    assert np.isfinite(log_scores({"click": np.float32([0])}, {"click": -100.0}, 1)).all()


def test_a_weight_of_a_task_that_is_not_served_is_ignored_and_said() -> None:
    ranking = Ranking({"gone": 2.0, "buy": 0.5}, TASKS)
    assert (ranking.weights, ranking.ignored, ranking.needed) == ({"buy": 0.5}, ["gone"], ("buy",))


def test_the_rows_that_are_taken_are_those_of_every_candidate_input() -> None:
    inputs = {"user": np.float32([9]), "item": np.float32([0, 1, 2])}
    ask, outputs = taken(Ask(None, None, "e", (), 3, inputs), outputs_of({"click": [0, 0.1, 0.2]}), [2, 0])
    assert ask.rows == 2
    assert [ask.inputs["user"].tolist(), ask.inputs["item"].tolist()] == [[9], [2, 0]]
    assert outputs[0].values.tolist() == pytest.approx([0.2, 0])


ORIGINS = ["EWR", "JFK", "LGA", "JFK", "??"]
DELAYS = [3.0, -2.0, None, 7.5, 0.0]


def body(**more: Any) -> dict[str, Any]:
    """The user's part: the hour. The candidates: origin and delay."""
    return {
        "inputs": [
            {"name": "origin", "shape": [5], "datatype": "BYTES", "data": ORIGINS},
            {"name": "delay", "shape": [5], "datatype": "FP32", "data": DELAYS},
            {"name": "hour", "shape": [1], "datatype": "FP32", "data": [7.0]},
        ],
        **more,
    }


def ranked(stack: Any, **more: Any) -> dict[str, Any]:
    answer = stack.http.post("/v2/models/flights/rank", json=body(**more))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def oracle(tools: Any, seed: int, task: str) -> list[float]:
    return [tools.expected(seed, task, origin, delay, 7.0) for origin, delay in zip(ORIGINS, DELAYS, strict=True)]


@pytest.fixture(scope="module")
def weighted(stack: Any) -> Any:
    stack.route(weights={"late": 1.0, "cancelled": -0.5, "gone": 2.0})
    return stack


def test_a_ranking_is_the_single_answers_by_the_weights_of_the_table(weighted: Any, tools: Any) -> None:
    answer = ranked(weighted, id="my-own", parameters={"entity": "ann", "items": list("abcde")})
    late, cancelled = (np.array(oracle(tools, 1, task)) for task in ("late", "cancelled"))
    scores = late * cancelled**-0.5
    best = np.argsort(-scores)
    assert answer["index"] == best.tolist()
    assert answer["items"] == [list("abcde")[at] for at in best]
    np.testing.assert_allclose(answer["scores"], scores[best], rtol=1e-4)
    told = {output["name"]: output for output in answer["outputs"]}
    np.testing.assert_allclose(told["late"]["data"], late[best], rtol=1e-4)
    assert told["cancelled"]["parameters"] == {"version": 1, "fallback": ""}
    said = answer["parameters"]
    assert said["weights"] == {"late": 1.0, "cancelled": -0.5}
    assert (said["weights_ignored"], said["epoch"], answer["id"]) == (["gone"], weighted.epoch, "my-own")
    singles = [weighted.infer(o, d, 7.0)["outputs"] for o, d in zip(ORIGINS, DELAYS, strict=True)]
    for at, task in ((0, "late"), (1, "cancelled")):
        np.testing.assert_allclose(told[task]["data"], [singles[i][at]["data"][0] for i in best], rtol=1e-5)


def test_tensors_and_probabilities_may_be_bytes_behind_the_json(weighted: Any) -> None:
    """The entity's input of one row as JSON, the candidates' as bytes."""
    tail = b"".join(len(text).to_bytes(4, "little") + text.encode() for text in ORIGINS)
    asked = body(outputs=[{"name": "late", "parameters": {"binary_data": True}}, {"name": "cancelled"}])
    asked["inputs"][0] = {
        "name": "origin", "shape": [5], "datatype": "BYTES", "parameters": {"binary_data_size": len(tail)},
    }  # fmt: skip
    said = json.dumps(asked).encode()
    headers = {"inference-header-content-length": str(len(said))}
    answer = weighted.http.post("/v2/models/flights/rank", content=said + tail, headers=headers)
    assert answer.status_code == 200, answer.text
    length = int(answer.headers["inference-header-content-length"])
    found, plain = json.loads(answer.content[:length]), ranked(weighted)
    assert (found["index"], found["scores"]) == (plain["index"], plain["scores"])
    assert found["outputs"][1]["data"] == plain["outputs"][1]["data"]
    assert found["outputs"][0]["parameters"]["binary_data_size"] == 20
    np.testing.assert_array_equal(
        np.frombuffer(answer.content[length:], "<f4"), np.float32(plain["outputs"][0]["data"])
    )


def test_what_is_answered_is_recorded_by_its_place_in_the_request_and_nothing_else(weighted: Any, tools: Any) -> None:
    answer = ranked(weighted, parameters={"entity": "bob", "top": 2}, outputs=[{"name": "late"}])
    assert len(answer["index"]) == len(answer["scores"]) == 2
    assert [output["name"] for output in answer["outputs"]] == ["late"]
    assert "items" not in answer
    identity = answer["parameters"]["request_id"]

    def rows() -> list[Any]:
        return [row for row in weighted.predictions() if row.id.hex() == identity.replace("-", "")]

    found = tools.wait_for(rows)
    assert [row.index for row in found] == answer["index"]
    assert [row.slices["origin"] for row in found] == [ORIGINS[at] for at in answer["index"]]
    assert {row.entity for row in found} == {"bob"}
    assert [row.scores[0].value for row in found] == pytest.approx(answer["outputs"][0]["data"], rel=1e-6)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"items": ["a"]}, "1 items, expected 5"),
        ({"top": 0}, "top"),
        ({"top": 2, "parameters": {"top": 2}}, "top is given twice"),
        ({"parameters": {"items": [1, 2, 3, 4, 5]}}, "items"),
        ({"outputs": [{"name": "gone"}]}, "'gone' is unknown"),
    ],
)
def test_a_wrong_ranking_request_is_told_what_is_wrong(weighted: Any, more: dict[str, Any], why: str) -> None:
    answer = weighted.http.post("/v2/models/flights/rank", json=body(**more))
    assert answer.status_code == 400
    assert why in answer.json()["detail"]


def test_two_lengths_that_are_not_one_are_refused(weighted: Any) -> None:
    wrong = body()
    wrong["inputs"][1].update(shape=[3], data=[1, 2, 3])
    answer = weighted.http.post("/v2/models/flights/rank", json=wrong)
    assert answer.status_code == 400
    assert "'delay' is FP32 of shape [3]" in answer.json()["detail"]


@pytest.mark.parametrize("canary_bp", [1_000, 10_000])
def test_the_candidate_ranks_by_handle_and_in_the_front_door_and_the_others_copy_is_whole(
    stack: Any, tools: Any, canary_bp: int
) -> None:
    """Rankings with a user's part of one row reach the candidate, and the shadow of the version that did not answer."""
    stack.route(
        candidate={"late": 2, "cancelled": 2}, canary_bp=canary_bp, shadow_bp=10_000, expires_at=4e9, rollout="r"
    )
    answer = next(
        found
        for at in range(400)
        if (found := ranked(stack, parameters={"entity": f"e{at}"}))["parameters"]["arm"] == "canary"
    )
    best = np.argsort(-np.array(oracle(tools, 2, "late")) * np.array(oracle(tools, 2, "cancelled")))
    assert answer["index"] == best.tolist()
    assert {output["parameters"]["version"] for output in answer["outputs"]} == {2}
    assert {output["parameters"]["fallback"] for output in answer["outputs"]} == {""}
    identity = answer["parameters"]["request_id"].replace("-", "")

    def shadows() -> list[Any]:
        return [row for row in stack.predictions() if row.id.hex() == identity and row.arm == "shadow"]

    found = tools.wait_for(shadows)
    assert [row.index for row in found] == answer["index"]
    late = [{score.task: score.value for score in row.scores}["late"] for row in found]
    assert late == pytest.approx([oracle(tools, 1, "late")[at] for at in best], rel=1e-4)


def test_the_copy_of_a_ranking_is_scored_alone(tmp_path: Any, packages: Any) -> None:
    """Its entity's row is no row of the others, and stays one row: joined, the arrays would not even be as long."""
    table = RouteTable(model="m", epoch=1, stable={"late": 1, "cancelled": 1}, packages=packages)
    applied = apply(table, {packages[1].digest: load(packages[1])})
    ranking, plain = one_row_for_many(applied, 3), one_row_for_many(applied, 1)
    assert plain.joins(plain)
    assert not any(one.joins(other) for one, other in ((ranking, plain), (plain, ranking), (ranking, ranking)))


def one_row_for_many(applied: Applied, rows: int) -> Copy:
    inputs = {"origin": np.array(["EWR"] * rows, object), "hour": np.float32([7])}
    keys = [(bytes(16), index, "e") for index in range(rows)]
    return Copy(applied, applied.groups("stable", ()), inputs, keys, [{}] * rows, 0)
