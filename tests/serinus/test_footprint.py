"""The memory of a package is measured where it is made, and two exports of one network agree on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from serinus.errors import InvalidPackage
from serinus.footprint import GRAIN_BYTES, footprint

MIB = 1 << 20


def graph(path: Path, mebibytes: int) -> Path:
    """A matrix product whose constant has that size."""
    matrix = np.random.default_rng(0).normal(size=(1024, mebibytes * MIB // 4096)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", None]) for name in "xy")
    built = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(matrix, "w")])
    onnx.save(helper.make_model(built, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_a_large_graph_takes_at_least_its_constants_and_not_many_times_them(tmp_path: Path) -> None:
    large = graph(tmp_path / "large.onnx", 64)
    found = footprint([large])
    assert 64 * MIB <= found <= 4 * 64 * MIB
    assert found % GRAIN_BYTES == 0
    assert footprint([large, graph(tmp_path / "more.onnx", 64)]) > found


def test_small_graphs_take_one_grain(tmp_path: Path) -> None:
    assert footprint([graph(tmp_path / "small.onnx", 1)]) == GRAIN_BYTES


def test_what_cannot_be_loaded_has_no_footprint(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"x" * (3 * MIB))
    with pytest.raises(InvalidPackage, match="cannot be loaded"):
        footprint([tmp_path / "bad.onnx"])
