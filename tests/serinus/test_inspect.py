"""Every reason to refuse a package, each once, and one package that nothing is wrong with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from serinus.errors import InvalidPackage
from serinus.inspect import MAX_JSON_BYTES, inspect_package, main
from serinus.package import MANIFEST, read_manifest, write_manifest


def test_a_right_package_is_accepted(package: Path) -> None:
    assert inspect_package(package) == read_manifest(package)


def _set(*path: Any, to: Any) -> Callable[[Any], None]:
    """Set one field of the recipe: `_set("manifest", "tasks", 0, "kind", to=...)`."""

    def alter(recipe: Any) -> None:
        at = getattr(recipe, path[0])
        if len(path) == 1:
            setattr(recipe, path[0], to)
            return
        for step in path[1:-1]:
            at = at[step]
        at[path[-1]] = to

    return alter


def _swap(part: str, old: str, new: str) -> Callable[[Any], None]:
    def alter(recipe: Any) -> None:
        assert old in recipe.graphs[part]
        recipe.graphs[part] = recipe.graphs[part].replace(old, new)

    return alter


def _model(part: str, change: Callable[[Any], None]) -> Callable[[Any], None]:
    """Change the ModelProto of one part before it is saved."""

    def alter(recipe: Any) -> None:
        recipe.edit = lambda name, model: change(model) if name == part else None

    return alter


def _weights(value: float) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        tensor = model.graph.initializer[0]
        array = numpy_helper.to_array(tensor).copy()
        array.flat[0] = value
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

    return change


def _hidden_nan(model: Any) -> None:
    """A NaN in a constant within the branch of an If, where a careless look does not go."""
    bad = helper.make_tensor("buried", TensorProto.FLOAT, [1], [float("nan")])
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["inner"], value=bad)],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, [1])],
    )
    condition = helper.make_tensor("condition", TensorProto.BOOL, [], [True])
    model.graph.initializer.append(condition)
    model.graph.node.append(
        helper.make_node("If", ["condition"], ["unused"], then_branch=branch, else_branch=branch),
    )


def _external(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../../etc/passwd"


def _foreign_operator(model: Any) -> None:
    model.graph.node[0].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def _foreign_function(model: Any) -> None:
    """A function of its own domain, called from the graph."""
    node = helper.make_node("Twice", ["numbers"], ["twice"], domain="local")
    model.graph.node.insert(0, node)
    opsets = [helper.make_opsetid("", 17)]
    body = [helper.make_node("Add", ["x", "x"], ["y"])]
    model.functions.append(helper.make_function("local", "Twice", ["x"], ["y"], body, opsets))
    model.opset_import.append(helper.make_opsetid("local", 1))


HEAD = "head (float[n,2] embedding) => (float[n] click)\n        <float[2] weight = {1.0, 0.5}> "
WRONG: list[tuple[str, Callable[[Any], None], str]] = [
    ("unknown kind", _set("manifest", "tasks", 0, "kind", to="ranking"), "tasks.0.kind"),
    ("unknown format", _set("manifest", "format", to=3), "format"),
    ("unknown field", _set("manifest", "pickle", to="model.pkl"), "pickle"),
    ("tensor of nobody", _set("manifest", "parts", 1, "inputs", to=["nothing"]), "part 'encoder' reads tensor 'nothi"),
    ("task of nobody", _set("manifest", "tasks", 0, "output", to="nothing"), "task 'click' reads tensor 'nothing'"),
    ("task is an input", _set("manifest", "tasks", 0, "output", to="price"), "task 'click': its output 'price'"),
    ("head is no head", _set("manifest", "parts", 2, "role", to="tower"), "task 'click': its output 'click'"),
    ("two sources", _set("manifest", "parts", 3, "outputs", to=["click"]), "'click' has two sources"),
    ("task twice", _set("manifest", "tasks", 1, "name", to="click"), "'click' is declared twice"),
    ("idle part", lambda r: r.manifest["tasks"].pop() and r.sample["outputs"].pop("buy"), "part 'head_buy' is needed"),
    ("nullable integer", _set("manifest", "inputs", 2, "nullable", to=True), "input 'weekday' may be missing"),
    ("input's name", _swap("encoder", "numbers", "figures"), "part 'encoder': the inputs of its graph are ['fig"),
    ("output's name", _swap("head_click", "click", "clicks"), "part 'head_click': the outputs of its graph are ["),
    ("input's type", _set("manifest", "inputs", 0, "datatype", to="FP64"), "does not read 'price' as FP64"),
    ("input's order", _set("manifest", "parts", 0, "inputs", to=["country", "price"]), "part 'preprocess': the inputs"),
    ("no sigmoid", _swap("head_click", "Sigmoid(logit)", "Exp(logit)"), "task 'click': its head gives 1.0 to 4.48"),
    ("NaN answers", _swap("head_click", "Sigmoid(logit)", "Log(logit)"), "task 'click': its head gives"),
    ("a column", _set("graphs", "head_click", to=HEAD.replace("float[n]", "float[n,k]").replace("[2] w", "[2,1] w")
        + "{ logit = MatMul(embedding, weight)  click = Sigmoid(logit) }"), "'click': its head gives float32 (3, 1)"),
    ("double", _set("graphs", "head_click", to=HEAD.replace("float[n] click", "double[n] click")
        + "{ logit = MatMul(embedding, weight)  p = Sigmoid(logit) click = Cast<to = 11>(p) }"), "gives float64 (3,)"),
    ("one answer for all", _set("graphs", "head_click", to=HEAD
        + "{ l = MatMul(embedding, weight)  p = Sigmoid(l) click = ReduceMean<axes = [0]>(p) }"), "gives float32 (1,)"),
    ("rows that look at each other", _set("graphs", "head_click", to=HEAD
        + "{ l = MatMul(embedding, weight)  click = Softmax<axis = 0>(l) }"), "task 'click': the sample says other"),
    ("a batch of three only", _set("graphs", "head_click", to=HEAD.replace("<", "<int64[1] three = {3}, ")
        + "{ l = MatMul(embedding, weight)  p = Sigmoid(l) click = Reshape(p, three) }"), "part 'head_click' failed"),
    ("NaN weight", _model("encoder", _weights(float("nan"))), "part 'encoder': constant 'weight' has NaN"),
    ("infinite weight", _model("head_buy", _weights(float("inf"))), "part 'head_buy': constant 'weight' has NaN or"),
    ("buried NaN", _model("encoder", _hidden_nan), "part 'encoder': constant 'buried' has NaN"),
    ("external data", _model("encoder", _external), "part 'encoder': constant 'weight' lies in another file"),
    ("foreign operator", _model("encoder", _foreign_operator), "part 'encoder': operator com.example.MatMul"),
    ("foreign function", _model("encoder", _foreign_function), "part 'encoder': parts/encoder.onnx defines functions"),
    ("unknown operator", _swap("encoder", "MatMul", "Enchant"), "part 'encoder': ONNX Runtime cannot load"),
    ("sample differs", _set("sample", "outputs", "buy", 1, to=0.7), "task 'buy': the sample says other probabilities"),
    ("sample is short", _set("sample", "outputs", "buy", to=[0.3]), "task 'buy': sample.json must have 3 numbers"),
    ("sample has a NaN", _set("sample", "outputs", "buy", 0, to=float("nan")), "task 'buy': sample.json must have 3"),
    ("sample lacks a task", lambda r: r.sample["outputs"].pop("buy"), "sample.json has outputs of ['click']"),
    ("sample lacks an input", lambda r: r.sample["inputs"].pop("price"), "sample.json: input 'price' (FP32) is"),
    ("sample's input unknown", _set("sample", "inputs", "colour", to=["red"]), "sample.json: 'colour' is not an input"),
    ("sample's input is text", _set("sample", "inputs", "price", 0, to="dear"), "sample.json: row 0 of input 'price'"),
    ("sample's rows", _set("sample", "inputs", "country", to=["BR"]), "sample.json: every input needs the same number"),
    ("sample is empty", _set("sample", to={
        "inputs": {"price": [], "country": []}, "outputs": {"click": [], "buy": []}}), "sample.json has 0 rows"),
    ("sample is a list", _set("sample", to=[]), "sample.json must be an object"),
    ("sample has no inputs", _set("sample", to={"outputs": {}}), "sample.json must be"),
    ("baseline lacks a task", lambda r: r.baseline["tasks"].pop("buy"), "baseline.json must have"),
    ("oversized sample", _set("sample", "why", to="x" * MAX_JSON_BYTES), "sample.json has 41"),
]  # fmt: skip


@pytest.mark.parametrize(("alter", "says"), [pytest.param(a, s, id=i) for i, a, s in WRONG])
def test_a_package_made_wrongly_is_refused(recipe: Any, tmp_path: Path, alter: Any, says: str) -> None:
    alter(recipe)
    with pytest.raises(InvalidPackage) as refusal:  # by write_manifest, where the manifest alone shows it
        inspect_package(recipe.write(tmp_path / "package"))
    assert says in refusal.value.detail


def _rewrite_manifest(folder: Path, **changes: Any) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, **changes}))


def _listed_again(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["files"]
    write_manifest(folder, manifest)


def _garbled(folder: Path) -> None:
    (folder / "parts/encoder.onnx").write_bytes(b"\x80\x04pickle?")
    _listed_again(folder)


def _not_json(folder: Path) -> None:
    (folder / "sample.json").write_bytes(b"{" * 100_000)
    _listed_again(folder)


def _huge(folder: Path) -> None:
    with (folder / "parts/encoder.onnx").open("r+b") as file:
        file.truncate((1 << 30) + 1)  # sparse: takes no room


def _linked(folder: Path) -> None:
    (folder / "parts/encoder.onnx").rename(folder.parent / "elsewhere.onnx")
    (folder / "parts/encoder.onnx").symlink_to(folder.parent / "elsewhere.onnx")


def _crowded(folder: Path) -> None:
    for at in range(300):
        (folder / f"parts/{at}").touch()


HARMED: list[tuple[str, Callable[[Path], Any], str]] = [
    ("no folder", lambda f: f.rename(f.parent / "gone"), "is not a folder"),
    ("no manifest", lambda f: (f / MANIFEST).unlink(), "manifest.json is missing"),
    ("manifest cut", lambda f: (f / MANIFEST).write_bytes((f / MANIFEST).read_bytes()[:100]), "manifest.json: Invalid"),
    ("manifest not text", lambda f: (f / MANIFEST).write_bytes(b"\xff\xfe{}"), "manifest.json: Invalid JSON"),
    ("manifest of size", lambda f: (f / MANIFEST).write_bytes(b" " * (1 << 21)), "manifest.json is larger"),
    ("a file is gone", lambda f: (f / "baseline.json").unlink(), "baseline.json is listed in the manifest but missing"),
    ("a file more", lambda f: (f / "parts/run.py").write_text("print()"), "parts/run.py is in the package but not in"),
    ("a folder more", lambda f: (f / "code").mkdir(), "code/ is in the package"),
    ("a bit flipped", lambda f: (f / "parts/head_buy.onnx").write_bytes(
        (f / "parts/head_buy.onnx").read_bytes()[:-1] + b"?"), "parts/head_buy.onnx was altered"),
    ("a path outside", lambda f: _rewrite_manifest(
        f, files={"../secret": {"sha256": "0" * 64, "size_bytes": 1}}), "files."),
    ("a link", _linked, "parts/encoder.onnx is neither a file nor a folder"),
    ("a pipe", lambda f: os.mkfifo(f / "parts/pipe"), "parts/pipe is neither a file nor a folder"),
    ("no graph", _garbled, "part 'encoder': parts/encoder.onnx is not an ONNX graph"),
    ("no JSON", _not_json, "sample.json is not JSON"),
    ("too large", _huge, "parts/encoder.onnx the package has more than"),
    ("too many", _crowded, "more than 256 files"),
]  # fmt: skip


@pytest.mark.parametrize(("harm", "says"), [pytest.param(h, s, id=i) for i, h, s in HARMED])
def test_a_package_harmed_afterwards_is_refused(package: Path, harm: Any, says: str) -> None:
    harm(package)
    with pytest.raises(InvalidPackage) as refusal:
        inspect_package(package)
    assert says in refusal.value.detail


def test_a_dependence_on_the_rows_beside_is_found_even_if_the_sample_agrees(recipe: Any, tmp_path: Path) -> None:
    recipe.graphs["head_click"] = HEAD + "{ l = MatMul(embedding, weight)  click = Softmax<axis = 0>(l) }"
    logits = np.array([0.75, 1.5, 0.0])
    recipe.sample["outputs"]["click"] = (np.exp(logits) / np.exp(logits).sum()).tolist()
    with pytest.raises(InvalidPackage, match="task 'click': row 0 of the sample depends on the rows beside it"):
        inspect_package(recipe.write(tmp_path / "package"))


def test_the_command_prints_the_manifest_or_the_problem(package: Path) -> None:
    command = [sys.executable, "-m", "serinus.inspect", str(package)]
    root = str(Path(__file__).parents[2])
    found = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=60, check=False)
    assert found.returncode == 0
    assert json.loads(found.stdout)["tasks"][0]["name"] == "click"
    (package / "baseline.json").write_text("{}")
    found = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=60, check=False)
    assert found.returncode == 1
    problem = json.loads(found.stdout)
    assert (problem["title"], problem["status"]) == ("InvalidPackage", 422)
    assert "baseline.json was altered" in problem["detail"]


def test_the_command_wants_one_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "FOLDER" in capsys.readouterr().err


def test_inspection_needs_no_torch(package: Path) -> None:
    code = f"import sys, serinus.inspect as i; assert not i.main([{str(package)!r}]); sys.exit('torch' in sys.modules)"
    root = str(Path(__file__).parents[2])
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=root, timeout=60, check=False, capture_output=True).returncode
        == 0
    )


def test_the_recipe_is_a_graph_that_onnx_itself_accepts(package: Path) -> None:
    for path in (package / "parts").iterdir():
        onnx.checker.check_model(onnx.load(path))
