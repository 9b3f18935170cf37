"""Plain models of anybody's become packages that answer as the models do, or it is said why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
import torch
from torch import nn

from serinus.baseline import read_baseline
from serinus.errors import BadInput, InvalidPackage
from serinus.execute import Executor
from serinus.package import Manifest
from serinus.training import Description, TaskSaid, package, wrap

HEADER = '<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 3]>\n'
CLASSIFIER = """model (float[n,1] Age, float[n,2] Where, string[n] city)
    => (float[n,2] probabilities, double[n,1] price)
    <float[3,2] weight = {0.5, -0.5, 0.25, -0.25, -1.0, 1.0}, float[1] lift = {2.0}> {
    code = ai.onnx.ml.LabelEncoder<keys_strings=["Rio"], values_floats=[1.0], default_float=0.0>(city)
    all = Concat<axis = 1>(Age, Where)
    logits = MatMul(all, weight)
    probabilities = Softmax<axis = 1>(logits)
    shape = Constant<value_ints = [-1, 1]>()
    column = Reshape(code, shape)
    sum = Add(column, lift)
    price = Cast<to = 11>(sum) }"""
SAMPLE = {"age": [0.1, 0.2, 0.9], "where": [[1.0, 2.0], [0.5, 0.5], [0.0, -1.0]], "city": ["Rio", None, "Berlin"]}


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(HEADER + CLASSIFIER), path)
    return path


def described(**changes: Any) -> Description:
    tasks = {"click": {"output": "probabilities", "column": 1}, "price": {"kind": "regression", "unit": "EUR"}}
    return Description.model_validate({"onnx": "model.onnx", "tasks": tasks, **changes})


def probability(age: float, where: list[float]) -> float:
    """Of the classifier's second class, by hand."""
    logits = np.array([age, *where]) @ np.array([[0.5, -0.5], [0.25, -0.25], [-1.0, 1.0]])
    return float(np.exp(logits[1]) / np.exp(logits).sum())


def test_one_graph_with_named_outputs_answers_row_by_row_in_the_types_that_are_served(
    graph: Path, tmp_path: Path
) -> None:
    manifest = wrap(described(), tmp_path / "out", base=tmp_path, sample=SAMPLE)
    assert [(spec.name, spec.shape, spec.nullable) for spec in manifest.inputs] == [
        ("age", (), False),
        ("where", (2,), False),
        ("city", (), True),
    ]
    raw = {
        "age": np.array([0.3, 0.7], np.float32),
        "where": np.array([[1, 0], [0, 1]], np.float32),
        "city": np.array(["Rio", ""], object),
    }
    found = Executor(tmp_path / "out").run(raw)
    assert found["click"] == pytest.approx([probability(0.3, [1, 0]), probability(0.7, [0, 1])], abs=1e-6)
    assert found["price"].tolist() == [3.0, 2.0]
    assert manifest.task("price").base_rate == pytest.approx((3 + 2 + 2) / 3)
    assert manifest.task("price").unit == "EUR"
    sample = json.loads((tmp_path / "out/sample.json").read_text())
    assert sample["inputs"]["city"][-2:] == [None, "(a word that was never seen)"]


def test_validation_rows_give_base_rates_and_what_monitors_compare_with(graph: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = 400
    validation = {
        "age": rng.random(rows).tolist(),
        "where": rng.random((rows, 2)).tolist(),
        "city": rng.choice(["Rio", "Berlin"], rows).tolist(),
        "click": [*([1, 0, 0, 0] * 90), *[None] * 40],
        "price": [2.5] * rows,
    }
    manifest = wrap(described(), tmp_path / "out", base=tmp_path, sample=SAMPLE, validation=validation)
    assert manifest.task("click").base_rate == 0.25
    told = read_baseline(tmp_path / "out")
    assert told.rows == rows
    assert set(told.inputs) == {"age", "city"}
    raw = json.loads((tmp_path / "out/baseline.json").read_text())
    assert raw["tasks"]["click"]["labels"] == 360


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"tasks": {"click": {"output": "probs"}}}, r"no output 'probs'; it has \['probabilities', 'price'\]"),
        ({"tasks": {"click": {"output": "probabilities"}}}, "has 2 columns"),
        ({"tasks": {"price": {}}}, "2.0 to 3.0, expected 0 to 1"),
        ({"onnx": "none.onnx"}, "is not an ONNX model"),
        ({"provenance": {"x": "y"}, "sample": "none.json"}, "is no file"),
    ],
)
def test_what_does_not_fit_is_named(graph: Path, tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    rows = None if "sample" in changes else SAMPLE
    with pytest.raises((BadInput, InvalidPackage), match=why):
        wrap(described(**changes), tmp_path / "out", base=tmp_path, sample=rows)
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_a_sample_without_an_input_and_a_fixed_batch_are_told(graph: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="neither a part gives it nor the sample has 'city'"):
        wrap(described(), tmp_path / "out", base=tmp_path, sample={"age": [1.0], "where": [[1.0, 2.0]]})
    graph.write_bytes(onnx.parser.parse_model(HEADER + CLASSIFIER.replace("[n", "[4")).SerializeToString())
    with pytest.raises(BadInput, match=r"fixed number of rows \(4\)"):
        wrap(described(), tmp_path / "out", base=tmp_path, sample=SAMPLE)


def of(folder: Path, x: np.ndarray[Any, Any]) -> dict[str, Any]:
    return Executor(folder).run({"x": x.astype(np.float32)})


def test_a_torch_module_answers_as_itself(tmp_path: Path) -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    x = np.random.default_rng(0).normal(size=(16, 4))
    tasks = {"click": TaskSaid(activation="sigmoid")}
    manifest = package(tmp_path / "out", tasks=tasks, sample={"x": x.astype(np.float32)}, model=body)
    own = torch.sigmoid(body(torch.from_numpy(x.astype(np.float32)))).reshape(-1).detach().numpy()
    assert of(tmp_path / "out", x)["click"] == pytest.approx(own, abs=1e-6)
    assert manifest.inputs[0].shape == (4,)


def test_an_encoder_and_heads_are_parts_of_their_own(tmp_path: Path) -> None:
    torch.manual_seed(1)
    encoder = nn.Sequential(nn.Linear(3, 5), nn.Tanh())
    heads = {"click": nn.Sequential(nn.Linear(5, 1), nn.Sigmoid()), "kind": nn.Linear(5, 3), "price": nn.Linear(5, 1)}
    tasks = {
        "click": TaskSaid(),
        "kind": TaskSaid(kind="multiclass", classes=("a", "b", "c"), activation="softmax"),
        "price": TaskSaid(kind="regression"),
    }
    x = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    manifest: Manifest = package(tmp_path / "out", tasks=tasks, sample={"x": x}, encoder=encoder, heads=heads)
    assert {part.name for part in manifest.plan(["click"])} == {"encoder", "head_click", "answer_click"}
    found = of(tmp_path / "out", x)
    embedding = encoder(torch.from_numpy(x))
    own = torch.softmax(heads["kind"](embedding), -1).detach().numpy()
    assert found["kind"] == pytest.approx(own, abs=1e-6)
    assert found["price"] == pytest.approx(heads["price"](embedding).reshape(-1).detach().numpy(), abs=1e-6)


def test_text_needs_a_preprocessing_graph_and_modules_read_what_it_gives(tmp_path: Path) -> None:
    text = """prep (float[n] age, string[n] city) => (float[n,2] features) <int64[2] shape = {2, -1}> {
        code = ai.onnx.ml.LabelEncoder<keys_strings=["Rio"], values_floats=[1.0], default_float=0.0>(city)
        flat = Concat<axis = 0>(age, code)  rows = Reshape(flat, shape)  features = Transpose<perm = [1, 0]>(rows) }"""
    (tmp_path / "prep.onnx").write_bytes(onnx.parser.parse_model(HEADER + text).SerializeToString())
    model, rows = nn.Linear(2, 1), {"age": [0.5, 1.5], "city": ["Rio", "Bonn"]}
    tasks = {"click": TaskSaid(activation="sigmoid")}
    with pytest.raises(BadInput, match="is text, which no module reads"):
        package(tmp_path / "out", tasks=tasks, sample=rows, model=model)
    package(tmp_path / "out", tasks=tasks, sample=rows, model=model, preprocess=tmp_path / "prep.onnx")
    raw = {"age": np.array([0.5], np.float32), "city": np.array(["Rio"], object)}
    own = torch.sigmoid(model(torch.tensor([[0.5, 1.0]]))).item()
    assert Executor(tmp_path / "out").run(raw)["click"] == pytest.approx([own], abs=1e-6)
