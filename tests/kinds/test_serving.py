"""Answers of the three kinds: through the protocol in its forms, what stands in, rankings, labels."""

from __future__ import annotations

import json
import uuid
from typing import Any

import numpy as np
import orjson
import pytest

from serinus.client.views import Answer as ClientAnswer
from serinus.execute import Executor
from serinus.tasks import TaskSpec
from serving.applied import Applied
from serving.ask import Answer, Ask, Output
from serving.batching import _together
from serving.grpc_messages import ModelInferResponse
from serving.grpc_tensors import fill_answer
from serving.labels import Values, values_of
from serving.protocol import parse, render
from serving.ranking import Ranking
from serving.steps import checked
from tests.kinds.conftest import SHAPES, TASKS

SIZES, COUNTRIES = [0.5, -1.25, 2.0, 0.0], ["BR", "DE", "US", "?"]


def body(**more: Any) -> bytes:
    return json.dumps(
        {
            "inputs": [
                {"name": "size", "datatype": "FP32", "shape": [4], "data": SIZES},
                {"name": "country", "datatype": "BYTES", "shape": [4], "data": COUNTRIES},
            ],
            **more,
        }
    ).encode()


def answered(applied: Applied, ask: Ask) -> Answer:
    outputs = applied.run(ask.inputs, applied.groups("stable", ask.tasks), ask.entity)
    return Answer(uuid.uuid4(), "", "stable", applied.table, outputs, ask.rows)


@pytest.fixture
def expected(applied: Applied) -> dict[str, np.ndarray]:
    raw = {"size": np.array(SIZES, np.float32), "country": np.array(COUNTRIES, object)}
    return Executor(next(iter(applied.engines.values())).folder).run(raw)


def test_json_binary_and_grpc_give_the_same_numbers_in_their_shapes(
    applied: Applied, expected: dict[str, np.ndarray]
) -> None:
    ask, _ = parse(body(), applied.specs, applied.tasks)
    answer = answered(applied, ask)
    plain = orjson.loads(render(answer)[0])
    assert {o["name"]: o["shape"] for o in plain["outputs"]} == {task: [4, *SHAPES[task]] for task in TASKS}
    for output in plain["outputs"]:
        found = np.array(output["data"]).reshape(output["shape"])
        np.testing.assert_allclose(found, expected[output["name"]], rtol=1e-5)
    both, length = render(answer, TASKS)
    tail = both[length:]
    for output in orjson.loads(both[:length])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        found, tail = np.frombuffer(tail[:size], "<f4").reshape(output["shape"]), tail[size:]
        np.testing.assert_allclose(found, expected[output["name"]], rtol=1e-5)
    assert not tail
    for raw in (False, True):
        said = ModelInferResponse.FromString(fill_answer(ModelInferResponse(), answer, raw).SerializeToString())
        for at, output in enumerate(said.outputs):
            flat = (
                np.frombuffer(said.raw_output_contents[at], "<f4") if raw else np.array(output.contents.fp32_contents)
            )
            assert list(output.shape) == [4, *SHAPES[output.name]]
            np.testing.assert_allclose(flat.reshape(output.shape), expected[output.name], rtol=1e-5)


def test_the_client_gives_rows(applied: Applied, expected: dict[str, np.ndarray]) -> None:
    ask, _ = parse(body(id="x"), applied.specs, applied.tasks)
    found = ClientAnswer.of(orjson.loads(render(answered(applied, ask))[0])).outputs
    assert [len(found[task]) for task in TASKS] == [4, 4, 4]
    np.testing.assert_allclose(np.array(found["colour"]), expected["colour"], rtol=1e-5)


def test_metadata_says_the_shapes(applied: Applied) -> None:
    assert {task: applied.shape_of(task) for task in TASKS} == {"click": [-1], "amount": [-1], "colour": [-1, 3]}


def fallen(applied: Applied, ask: Ask) -> dict[str, Output]:
    """The outputs when no part runs in time."""
    outputs = applied.run(ask.inputs, applied.groups("stable", ()), ask.entity, deadline_ns=1)
    return {output.task: output for output in outputs}


def test_what_stands_in_is_of_the_tasks_kind(applied: Applied) -> None:
    ask, _ = parse(body(), applied.specs, applied.tasks)
    found = fallen(applied, ask)
    specs = applied.answers
    assert {output.fallback for output in found.values()} == {"base_rate"}
    for task in TASKS:
        assert (found[task].values.shape, found[task].values.dtype) == ((4, *SHAPES[task]), np.float32)
        np.testing.assert_allclose(found[task].values, np.broadcast_to(specs[task].base_rate, (4, *SHAPES[task])))


def one_row(applied: Applied, entity: str) -> Ask:
    said = {
        "inputs": [
            {"name": "size", "datatype": "FP32", "shape": [1], "data": [0.5]},
            {"name": "country", "datatype": "BYTES", "shape": [1], "data": ["BR"]},
        ],
        "parameters": {"entity": entity},
    }
    return parse(json.dumps(said).encode(), applied.specs, applied.tasks)[0]


def test_the_last_good_answer_stands_in_for_its_entity(applied: Applied) -> None:
    good = {output.task: output.values for output in answered(applied, one_row(applied, "ann")).outputs}
    again, stranger = fallen(applied, one_row(applied, "ann")), fallen(applied, one_row(applied, "bob"))
    for task in TASKS:
        assert again[task].fallback == "last_known_good"
        np.testing.assert_array_equal(again[task].values, good[task])
        assert again[task].values.shape == (1, *SHAPES[task])
        assert stranger[task].fallback == "base_rate"


def test_a_constant_of_a_route_stands_in_for_numbers_only(applied: Applied) -> None:
    """An SLA cannot ask for it; a table of another origin could."""
    heads = dict.fromkeys(TASKS, applied.table.heads["click"].model_copy(update={"fallback": 7.0}))
    table = applied.table.model_copy(update={"heads": heads})
    found = fallen(Applied(table, applied.engines, applied.specs, applied.manifests), one_row(applied, "ann"))
    assert (found["amount"].fallback, found["amount"].values.tolist()) == ("constant", [7.0])
    assert (found["colour"].fallback, found["colour"].values.sum()) == ("base_rate", pytest.approx(1, abs=1e-6))


def test_requests_that_share_a_run_get_their_own_rows(applied: Applied, expected: dict[str, np.ndarray]) -> None:
    class Waiting:
        deadline_ns = None

        def __init__(self, ask: Ask) -> None:
            self.ask = ask

    asks = [parse(body(), applied.specs, applied.tasks)[0], one_row(applied, "ann")]
    found = _together(applied, applied.groups("stable", ()), [Waiting(ask) for ask in asks])  # type: ignore[misc]
    for outputs, rows in zip(found or [], (4, 1), strict=True):
        for output in outputs:
            np.testing.assert_allclose(output.values, expected[output.task][:rows], rtol=1e-5)


NUMBER = TaskSpec(name="n", kind="regression", output="n", base_rate=0.0)
CLASSES = TaskSpec(name="c", kind="multiclass", output="c", base_rate=(0.5, 0.5), classes=("a", "b"))
BAD = [
    (NUMBER, [1.0, np.nan], "finite"),
    (NUMBER, [1.0, np.inf], "finite"),
    (NUMBER, [[1.0, 2.0]] * 2, "shape"),
    (CLASSES, [[0.5, 0.6]] * 2, "sum to"),
    (CLASSES, [[1.5, -0.5]] * 2, "0 to 1"),
    (CLASSES, [[np.nan, 0.5]] * 2, "0 to 1"),
    (CLASSES, [0.5, 0.5], "shape"),
    (CLASSES, [[0.25] * 4] * 2, "shape"),
]


@pytest.mark.parametrize(("spec", "values", "says"), BAD)
def test_what_is_no_answer_of_the_kind_is_refused(spec: TaskSpec, values: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        checked(np.array(values, np.float32), 2, spec)


def test_what_is_one_passes() -> None:
    assert checked(np.array([[-5.0], [1e30]], np.float32), 2, NUMBER).tolist() == [-5.0, np.float32(1e30)]
    assert checked(np.array([[0.25, 0.75]] * 2, np.float32), 2, CLASSES).shape == (2, 2)


def test_rankings_are_by_probabilities_and_by_numbers_where_they_have_a_weight(applied: Applied) -> None:
    kinds = {task: spec.kind for task, spec in applied.answers.items()}
    assert Ranking({}, applied.tasks, kinds).weights == {"click": 1.0}
    some = Ranking({"click": 1.0, "amount": 1.0, "colour": 1.0}, applied.tasks, kinds)
    assert (some.weights, some.ignored) == ({"click": 1.0, "amount": 1.0}, ["colour"])
    columns = {"click": [0.5, 0.1, 0.4], "amount": [10.0, 100.0, -3.0], "colour": [[1.0, 0.0, 0.0]] * 3}
    outputs = [Output(task, np.array(values, np.float32), 1) for task, values in columns.items()]
    assert some.choose(outputs, 3) == [1, 0, 2]


LABELS = [
    ("click", 0.5, "expected 0 or 1"),
    ("click", float("nan"), "expected 0 or 1"),
    ("amount", float("nan"), "expected a number"),
    ("amount", float("inf"), "expected a number"),
    ("amount", -1e31, "expected a number"),
    ("colour", 3.0, "expected the place of a class, 0 to 2"),
    ("colour", -1.0, "0 to 2"),
    ("colour", 0.5, "0 to 2"),
    ("colour", float("inf"), "0 to 2"),
]


def test_labels_are_checked_by_the_kind_of_their_task(applied: Applied) -> None:
    values = values_of(applied.manifests.values())
    assert values == {"click": Values(), "amount": Values("regression"), "colour": Values("multiclass", 3)}
    for task, good in (("click", 1.0), ("amount", -1e9), ("amount", 0.25), ("colour", 2.0)):
        values[task].check(good)
    for task, bad, says in LABELS:
        with pytest.raises(ValueError, match=says):
            values[task].check(bad)
