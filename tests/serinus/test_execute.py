"""The reference executor: only what is asked, missing values, and inputs that are not what they should be."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serinus.errors import BadInput, InvalidPackage
from serinus.execute import Executor, parse_raw
from serinus.package import Manifest, read_manifest

SIGMOID_OF = {"click": [0.75, 1.5, 0.0], "buy": [-0.75, 0.5, -2.0]}  # by hand, see conftest


def _raw() -> dict[str, np.ndarray[Any, Any]]:
    return {
        "price": np.array([1.0, np.nan, 2.0], np.float32),
        "country": np.array(["BR", "DE", "Atlantis"], object),
    }


def test_it_computes_what_was_computed_by_hand(package: Path) -> None:
    found = Executor(package).run(_raw())
    for task, logits in SIGMOID_OF.items():
        assert found[task].dtype == np.float32
        assert found[task].tolist() == pytest.approx([1 / (1 + math.exp(-z)) for z in logits], abs=1e-6)


def test_only_the_parts_of_the_asked_tasks_are_run(package: Path) -> None:
    executor = Executor(package)
    del executor._sessions["head_buy"]
    assert list(executor.run(_raw(), ["click"])) == ["click"]
    with pytest.raises(InvalidPackage, match="head_buy"):
        executor.run(_raw(), ["buy"])


def test_an_unknown_task_is_refused(package: Path) -> None:
    with pytest.raises(BadInput, match="'sale' is not a task of this model"):
        Executor(package).run(_raw(), ["sale"])


def test_an_optional_input_may_be_left_out_and_is_then_missing_in_every_row(recipe: Any, tmp_path: Path) -> None:
    recipe.manifest["inputs"][0]["required"] = False
    executor = Executor(recipe.write(tmp_path / "package"))
    raw = _raw()
    without = executor.run({"country": raw["country"]})
    nothing = executor.run({**raw, "price": np.full(3, np.nan, np.float32)})
    assert {task: p.tolist() for task, p in without.items()} == {task: p.tolist() for task, p in nothing.items()}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"price": None}, r"input 'price' \(FP32\) is required"),
        ({"price": np.zeros(2, np.float32)}, "the same number of rows"),
        ({"price": np.zeros((3, 1), np.float32)}, r"'price' has the shape \(3, 1\), expected \(3,\)"),
        ({"price": np.array(["a", "b", "c"])}, "'price' is <U1, expected FP32"),
        ({"country": np.zeros(3)}, "'country' is float64, expected BYTES"),
        ({"colour": np.zeros(3)}, "'colour' is not an input"),
    ],
)
def test_wrong_arrays_are_refused(package: Path, changes: dict[str, Any], says: str) -> None:
    raw = {name: column for name, column in (_raw() | changes).items() if column is not None}
    with pytest.raises(BadInput, match=says):
        Executor(package).run(raw)


@pytest.fixture
def typed(package: Path) -> Manifest:
    """A manifest with an input of every type and one with a shape."""
    manifest = read_manifest(package)
    extra = [
        {"name": "grid", "datatype": "FP64", "shape": (2, 2), "required": False, "nullable": True},
        {"name": "small", "datatype": "INT32", "required": False},
        {"name": "flag", "datatype": "BOOL", "required": False},
        {"name": "strict", "datatype": "FP32", "required": False},
    ]
    return Manifest.model_validate({**manifest.model_dump(), "inputs": [*manifest.model_dump()["inputs"], *extra]})


NEEDED: dict[str, list[Any]] = {"price": [1.5, None], "country": ["BR", None]}


def test_json_becomes_arrays_of_the_declared_types(typed: Manifest) -> None:
    columns = {**NEEDED, "grid": [[[1, 2], [3, None]]] * 2, "small": [1, 2], "flag": [True, False], "weekday": [7, 1]}
    raw = parse_raw(typed, columns)
    assert raw["price"].dtype == np.float32
    assert raw["price"].tolist() == pytest.approx([1.5, math.nan], nan_ok=True)
    assert raw["country"].tolist() == ["BR", ""]
    assert (str(raw["grid"].dtype), raw["grid"].shape) == ("float64", (2, 2, 2))
    assert np.isnan(raw["grid"][:, 1, 1]).all()
    assert [str(raw[name].dtype) for name in ("small", "flag", "weekday")] == ["int32", "bool", "int64"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"price": None}, "'price' must be a list"),
        ({"price": [1.0, "2"]}, "row 1 of input 'price' is '2', expected FP32"),
        ({"price": [1.0, True]}, "row 1 of input 'price' is True, expected FP32"),
        ({"price": [[1.0], 2.0]}, "row 0 of input 'price'"),
        ({"price": [10**400, 1.0]}, "'price' does not fit FP32"),
        ({"country": ["BR", 7]}, "row 1 of input 'country' is 7, expected BYTES"),
        ({"small": [1, 2**31]}, "'small' does not fit INT32"),
        ({"small": [1, 2.0]}, "row 1 of input 'small' is 2.0, expected INT32"),
        ({"small": [1, None]}, "row 1 of input 'small' is null, which it may not be"),
        ({"strict": [1.0, float("nan")]}, "row 1 of input 'strict' is null, which it may not be"),
        ({"flag": [1, 0]}, "row 0 of input 'flag' is 1, expected BOOL"),
        ({"grid": [[[1, 2]], [[1, 2]]]}, r"row 0 of input 'grid' is not of the shape \(2, 2\)"),
        ({"colour": ["red"]}, "'colour' is not an input"),
    ],
)
def test_wrong_json_is_refused_with_its_place(typed: Manifest, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        parse_raw(typed, NEEDED | changes)


def test_a_number_beyond_float32_is_infinite(typed: Manifest) -> None:
    assert parse_raw(typed, NEEDED | {"price": [1e300, -1e300]})["price"].tolist() == [math.inf, -math.inf]
