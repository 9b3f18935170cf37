"""Three kinds of tasks are learnt together, exported, and refused where a package is not what it says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import log_loss, mean_squared_error

from serinus.errors import InvalidPackage
from serinus.execute import Executor
from serinus.inspect import inspect_package
from serinus.package import MANIFEST, read_manifest, write_manifest
from serinus.tasks import TaskSpec
from serinus.training import Dataset, Learnt, Target, Trained, quality_of
from serinus.training.quantize import quantize
from tests.kinds.conftest import SHAPES, TARGETS, TASKS


def test_each_kind_is_learnt_far_better_than_its_base_rate(trained: Trained) -> None:
    ratios = {task: quality.ratio for task, quality in trained.best.validation.items()}
    assert ratios["click"] < 0.92
    assert ratios["amount"] < 0.1  # what is left is the noise: 20^2 of 80^2 + 2/3 60^2 + 20^2
    assert ratios["colour"] < 0.8


def test_qualities_are_those_of_scikit_learn(trained: Trained, validation: Dataset) -> None:
    found = trained.predict(validation.raw)
    known = {task: ~np.isnan(validation.labels[task]) for task in TASKS}
    y = {task: validation.labels[task][known[task]].astype(np.float64) for task in TASKS}
    amount = quality_of(TARGETS["amount"], validation.labels["amount"], found["amount"])
    assert amount.labels == known["amount"].sum() < len(validation)
    assert amount.loss == pytest.approx(mean_squared_error(y["amount"], found["amount"][known["amount"]]), rel=1e-6)
    assert amount.bias == pytest.approx((found["amount"][known["amount"]] - y["amount"]).mean(), abs=1e-3)
    assert amount.reference == pytest.approx(y["amount"].var())
    colour = quality_of(TARGETS["colour"], validation.labels["colour"], found["colour"])
    p = found["colour"][known["colour"]].astype(np.float64)
    assert colour.log_loss == pytest.approx(log_loss(y["colour"], p / p.sum(1, keepdims=True)), rel=1e-5)
    assert colour.top1 == (p.argmax(1) == y["colour"]).mean()


def test_the_manifest_says_what_the_tasks_are_and_the_graphs_answer_as_the_network(
    package: Path, trained: Trained, validation: Dataset
) -> None:
    manifest = inspect_package(package)
    specs = {task.name: task for task in manifest.tasks}
    assert [specs[task].kind for task in TASKS] == ["binary", "regression", "multiclass"]
    assert (specs["amount"].unit, specs["colour"].classes) == ("EUR", ("red", "green", "blue"))
    assert specs["amount"].base_rate == pytest.approx(1_000, abs=10)
    assert sum(specs["colour"].base_rate) == pytest.approx(1)
    found, own = Executor(package).run(validation.raw), trained.predict(validation.raw)
    for task in TASKS:
        assert found[task].shape == (len(validation), *SHAPES[task])
        np.testing.assert_allclose(found[task], own[task], rtol=1e-5, atol=1e-6)
    measured = json.loads((package / "baseline.json").read_text())["tasks"]
    assert (measured["colour"]["top1"], measured["amount"]["loss"]) > (0.5, 100.0)


def other(change: Callable[[dict[str, Any], dict[str, Any]], None], package: Path, folder: Path) -> Path:
    """The package, with `change(manifest, sample)` applied to it."""
    shutil.copytree(package, folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    sample = json.loads((folder / "sample.json").read_text())
    change(manifest, sample)
    (folder / MANIFEST).unlink()
    (folder / "sample.json").write_text(json.dumps(sample))
    write_manifest(folder, manifest)
    return folder


def task_of(manifest: dict[str, Any], name: str) -> dict[str, Any]:
    return next(task for task in manifest["tasks"] if task["name"] == name)


CHANGES: dict[str, tuple[Callable[[dict[str, Any], dict[str, Any]], None], str]] = {
    "a class that the head does not give": (
        lambda m, s: task_of(m, "colour").update(classes=["r", "g", "b", "x"], base_rate=[0.25] * 4),
        r"its head gives float32 \(8, 3\), expected float32 \(8, 4\)",
    ),
    "numbers that are said to be probabilities": (
        lambda m, s: task_of(m, "amount").update(kind="binary", unit="", base_rate=0.5),
        "its head gives .* expected 0 to 1",
    ),
    "probabilities that are no classes'": (
        lambda m, s: task_of(m, "click").update(kind="multiclass", classes=["no", "yes"], base_rate=[0.5, 0.5]),
        r"expected float32 \(8, 2\)",
    ),
    "a sample of other rows": (
        lambda m, s: s["outputs"].update(colour=[[0.5, 0.5]] * 8),
        "must have 8 rows of 3 numbers",
    ),
    "a sample of other probabilities": (
        lambda m, s: s["outputs"].update(colour=[[0.2, 0.3, 0.5]] * 8),
        "the sample says other probabilities",
    ),
    "a sample of other numbers": (
        lambda m, s: s["outputs"].update(amount=[value + 1 for value in s["outputs"]["amount"]]),
        "the sample says other numbers",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_package_that_is_not_what_it_says_is_refused(name: str, package: Path, tmp_path: Path) -> None:
    change, says = CHANGES[name]
    with pytest.raises(InvalidPackage, match=says):
        inspect_package(other(change, package, tmp_path / "p"))


def test_numbers_are_compared_relative_to_their_size(package: Path, tmp_path: Path) -> None:
    """0.01 EUR of 1,000 is what another CPU may round; of a probability it would be too much."""
    inspect_package(
        other(
            lambda m, s: s["outputs"].update(amount=[value + 0.01 for value in s["outputs"]["amount"]]),
            package,
            tmp_path / "p",
        )
    )


def test_a_head_whose_classes_do_not_sum_to_one_is_refused(package: Path, tmp_path: Path) -> None:
    import onnx

    folder = tmp_path / "p"
    shutil.copytree(package, folder)
    path = folder / "parts/head_colour.onnx"
    model = onnx.load(path)
    softmax = next(node for node in model.graph.node if node.op_type == "Softmax")
    softmax.op_type = "Sigmoid"
    del softmax.attribute[:]
    onnx.save(model, path)
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).unlink()
    write_manifest(folder, manifest)
    with pytest.raises(InvalidPackage, match=r"rows that sum to .* expected 1"):
        inspect_package(folder)


SPEC = {"name": "t", "output": "t"}
WRONG = [
    ({"kind": "binary", "base_rate": 1.5}, "not within 0 to 1"),
    ({"kind": "binary", "base_rate": [0.5, 0.5]}, "one number"),
    ({"kind": "binary", "base_rate": 0.5, "unit": "EUR"}, "unit"),
    ({"kind": "regression", "base_rate": 0.5, "classes": ["a", "b"]}, "classes"),
    ({"kind": "regression", "base_rate": "NaN"}, "finite"),
    ({"kind": "multiclass", "base_rate": [1.0], "classes": ["a"]}, "at least 2"),
    ({"kind": "multiclass", "base_rate": [0.5, 0.5], "classes": ["a", "a"]}, "different names"),
    ({"kind": "multiclass", "base_rate": [0.5, 0.4], "classes": ["a", "b"]}, "1 together"),
    ({"kind": "multiclass", "base_rate": 0.5, "classes": ["a", "b"]}, "share of each class"),
]


@pytest.mark.parametrize(("fields", "says"), WRONG)
def test_a_task_that_contradicts_itself_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        TaskSpec.model_validate(SPEC | fields)


def test_labels_of_another_kind_are_refused(validation: Dataset) -> None:
    for task, wrong in (("click", 2.0), ("amount", np.inf), ("colour", 3.0), ("colour", 0.5)):
        labels = {**validation.labels, task: np.full(len(validation), wrong, np.float32)}
        with pytest.raises(ValueError, match=f"labels of '{task}'"):
            Dataset(validation.raw, labels, TARGETS)
    with pytest.raises(ValueError, match="cannot have the classes"):
        Target("multiclass", classes=("only",))


def test_without_labels_equal_shares_or_zero_stand_in() -> None:
    none = np.full(3, np.nan)
    assert Learnt.of(TARGETS["colour"], none).base_rate == pytest.approx((1 / 3,) * 3)
    assert (Learnt.of(TARGETS["amount"], none).base_rate, Learnt.of(TARGETS["amount"], none).scale) == (0.0, 1.0)


def test_a_package_of_half_precision_answers_almost_the_same(
    package: Path, validation: Dataset, tmp_path: Path
) -> None:
    quantize(package, tmp_path / "half", "fp16", rows=validation.raw, least_weights=64)
    before, after = Executor(package).run(validation.raw), Executor(tmp_path / "half").run(validation.raw)
    assert read_manifest(tmp_path / "half").task("colour").classes == ("red", "green", "blue")
    assert np.abs(after["amount"] - before["amount"]).max() < 1.0
    assert 0 < np.abs(after["colour"] - before["colour"]).max() < 1e-2
