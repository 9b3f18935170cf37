"""Requests become tensors or a BadInput that says what was expected; never anything else."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.errors import BadInput
from serinus.ids import uuid7
from serinus.routes import RouteTable
from serinus.tasks import InputSpec
from serving.ask import Answer, Output
from serving.protocol import parse, render

SPECS = {
    spec.name: spec
    for spec in (
        InputSpec(name="origin", datatype="BYTES", nullable=True),
        InputSpec(name="delay", datatype="FP32", nullable=True, required=False),
        InputSpec(name="hour", datatype="INT64"),
        InputSpec(name="place", datatype="FP64", shape=(2,), required=False),
        InputSpec(name="night", datatype="BOOL", required=False),
    )
}
TASKS = {"late": 1, "cancelled": 1}


def body(**inputs: Any) -> dict[str, Any]:
    """A good request of two rows, with these inputs changed; None leaves one out."""
    tensors: dict[str, Any] = {
        "origin": {"name": "origin", "shape": [2], "datatype": "BYTES", "data": ["EWR", None]},
        "delay": {"name": "delay", "shape": [2], "datatype": "FP32", "data": [1, None]},
        "hour": {"name": "hour", "shape": [2], "datatype": "INT64", "data": [7, 8]},
        "place": {"name": "place", "shape": [2, 2], "datatype": "FP64", "data": [1.5, 2, 3, 4]},
        "night": {"name": "night", "shape": [2], "datatype": "BOOL", "data": [True, False]},
    }
    for name, change in inputs.items():
        tensors[name] = None if change is None else {**tensors[name], **change}
    return {"inputs": [tensor for tensor in tensors.values() if tensor is not None]}


def parsed(request: Any) -> Any:
    return parse(json.dumps(request).encode(), SPECS, TASKS)[0]


def test_a_good_request_becomes_tensors_with_missing_values() -> None:
    ask = parsed(body())
    assert ask.rows == 2
    assert ask.inputs["origin"].tolist() == ["EWR", ""]
    assert np.array_equal(ask.inputs["delay"], np.array([1, np.nan], dtype=np.float32), equal_nan=True)
    assert ask.inputs["hour"].dtype == np.int64
    assert ask.inputs["place"].tolist() == [[1.5, 2.0], [3.0, 4.0]]
    assert (ask.id, ask.event_ms, ask.entity, ask.tasks) == (None, None, "", ())


def test_an_optional_input_that_is_left_out_is_missing_in_every_row() -> None:
    ask = parsed(body(delay=None, place=None, night=None))
    assert np.isnan(ask.inputs["delay"]).all()
    assert ask.inputs["place"].shape == (2, 2)
    assert ask.inputs["night"].tolist() == [False, False]


def test_nested_data_means_the_same_as_flat() -> None:
    nested = parsed(body(place={"data": [[1.5, 2], [3, 4]]}))
    assert nested.inputs["place"].tolist() == parsed(body()).inputs["place"].tolist()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hour": None}, "'hour' is missing, expected INT64 of shape [2]"),
        ({"origin": {"name": "orign"}}, "'orign' is unknown, expected delay, hour, night, origin, place"),
        ({"hour": {"datatype": "FP64"}}, "'hour' is FP64 of shape [2], expected INT64 of shape [2]"),
        ({"hour": {"shape": [2, 1]}}, "shape [2, 1], expected INT64 of shape [2]"),
        ({"place": {"shape": [2]}}, "expected FP64 of shape [2, 2]"),
        ({"hour": {"data": [7]}}, "has 1 values, expected 2"),
        ({"hour": {"data": [7, None]}}, "'hour' is null"),
        ({"place": {"data": [1, None, 3, 4]}}, "'place' is null, expected numbers"),
        ({"hour": {"data": [7, 8.5]}}, "is no INT64, expected whole numbers"),
        ({"hour": {"data": [7, 2**70]}}, "'hour' has"),
        ({"delay": {"data": [1e39, 0]}}, "too large for FP32"),
        ({"delay": {"data": ["1", 0]}}, "is no FP32, expected numbers"),
        ({"delay": {"data": [True, 0]}}, "is no FP32, expected numbers"),
        ({"night": {"data": [1, 0]}}, "is no BOOL, expected true or false"),
        ({"origin": {"data": ["EWR", 3]}}, "is no BYTES, expected texts"),
        ({"origin": {"shape": [0], "data": []}}, "0 rows, expected 1 to 1024"),
        ({"origin": {"shape": [5000]}}, "5000 rows, expected 1 to 1024"),
        ({"place": {"data": [[1, 2], 3, 4]}}, "has 3 values, expected 4"),
    ],
)
def test_what_is_wrong_is_told_with_what_was_expected(change: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput) as caught:
        parsed(body(**change))
    assert words in caught.value.detail


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"outputs": [{"name": "diverted"}]}, "'diverted' is unknown, expected some of cancelled, late"),
        ({"parameters": {"join_key": "order 7"}}, "needs parameters.event_time_ms"),
        ({"parameters": {"timeout": 0}}, "at least 1"),
        ({"parameters": {"event_time_ms": -1}}, "expected Unix milliseconds"),
        ({"parameters": {"entity": 7}}, "entity"),
        ({"id": str(uuid7(1000)), "parameters": {"event_time_ms": 2000}}, "send one of them"),
        ({"inputs": []}, "inputs is empty"),
        ({"inputs": body()["inputs"] * 2}, "given twice"),
    ],
)
def test_so_is_what_is_wrong_around_the_inputs(more: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput) as caught:
        parsed(body() | more)
    assert words in caught.value.detail


def test_depth_and_bytes_that_are_no_text_are_bad_input_too() -> None:
    deep = (
        b'{"inputs":[{"name":"hour","shape":[1],"datatype":"INT64","data":' + b"[" * 200_000 + b"]" * 200_000 + b"}]}"
    )
    surrogate = b'{"inputs":[{"name":"origin","shape":[1],"datatype":"BYTES","data":["\\ud800"]}]}'
    for wrong in (deep, surrogate, b"\xff", b"", b"null", b"[1]", b'{"inputs":[{"name":"a"}]}', b'{"inputs":NaN}'):
        with pytest.raises(BadInput):
            parse(wrong, SPECS, TASKS)


leaf = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
anything = st.recursive(leaf, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner))
tensor = st.fixed_dictionaries(
    {
        "name": st.sampled_from([*SPECS, "other"]) | anything,
        "shape": st.lists(st.integers(-1, 3), max_size=3) | anything,
        "datatype": st.sampled_from(["FP32", "FP64", "INT32", "INT64", "BOOL", "BYTES"]) | anything,
        "data": st.lists(leaf, max_size=4) | anything,
    }
)
near = st.fixed_dictionaries(
    {"inputs": st.lists(tensor, max_size=5) | anything},
    optional={"id": anything, "outputs": anything, "parameters": anything},
)


@given(anything | near)
def test_any_json_is_an_answer_or_bad_input(value: Any) -> None:
    try:
        ask, _ = parse(json.dumps(value).encode(), SPECS, TASKS)
    except BadInput:
        return
    assert ask.inputs.keys() == SPECS.keys()


@given(st.binary(max_size=200))
def test_any_bytes_are_bad_input(value: bytes) -> None:
    with pytest.raises(BadInput):
        parse(value, SPECS, TASKS)


@given(st.sampled_from(list(SPECS)), st.lists(leaf, min_size=2, max_size=2))
def test_any_values_become_a_tensor_of_the_right_type_or_bad_input(name: str, values: list[Any]) -> None:
    try:
        ask = parsed(body(**{name: {"data": values * (2 if name == "place" else 1)}}))
    except BadInput:
        return
    assert ask.inputs[name].shape == (2, *SPECS[name].shape)


def test_an_answer_reads_back_as_the_protocol_says() -> None:
    table = RouteTable(model="m", epoch=3, stable={"late": 1}, packages={1: {"digest": "d", "uri": "file:///x"}})
    identity = uuid7(1000)
    outputs = [Output("late", np.array([0.25, 0.1], dtype=np.float32), 7), Output("b", np.array([0.5]), 2, "stable")]
    answer = orjson.loads(render(Answer(identity, "", "canary", table, outputs, 2))[0])
    assert (answer["model_version"], answer["id"]) == ("2,7", str(identity))
    assert answer["parameters"] == {"arm": "canary", "epoch": 3, "rollout": "", "request_id": str(identity)}
    assert answer["outputs"][0]["data"] == [0.25, 0.1]
    assert answer["outputs"][1] == {
        "name": "b",
        "datatype": "FP32",
        "shape": [1],
        "data": [0.5],
        "parameters": {"version": 2, "fallback": "stable"},
    }
