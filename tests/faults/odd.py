"""Packages whose encoder misbehaves for rows whose hour is above 100, in real graphs, and is sound for all others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from serinus.package import MANIFEST, digest_of, write_manifest
from serinus.routes import PackageRef
from tests.pool.packages import weights, write_package

HOUR = 2
"""The column of the features that the odd part looks at."""
Odd = tuple[list[Any], dict[str, np.ndarray]]


def slow() -> Odd:
    """Loops (hour - 100) * 1,000 times; one turn takes about 3 us. Adds 0."""
    step = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["go_on_too"]),
            helper.make_node("MatMul", ["before", "turn"], ["turned"]),
            helper.make_node("Tanh", ["turned"], ["after"]),
        ],
        "turn_once",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, [16, 16]),
        ],
        [
            helper.make_tensor_value_info("go_on_too", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, [16, 16]),
        ],
    )
    nodes = [
        helper.make_node("Mul", ["above", "thousand"], ["turns"]),
        helper.make_node("Cast", ["turns"], ["times"], to=TensorProto.INT64),
        helper.make_node("Loop", ["times", "true", "turn"], ["last"], body=step),
        helper.make_node("ReduceMax", ["last"], ["largest"], keepdims=0),
        helper.make_node("Mul", ["largest", "nothing"], ["odd"]),
    ]
    return nodes, {"turn": np.eye(16, dtype=np.float32), "true": np.array(True)}


def raising() -> Odd:
    """Looks up row 0 of a table of one row; above 100 a row that is not there."""
    nodes = [
        helper.make_node("Mul", ["above", "thousand"], ["place"]),
        helper.make_node("Cast", ["place"], ["row"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "row"], ["odd"], axis=0),
    ]
    return nodes, {"table": np.zeros(1, dtype=np.float32)}


def nan() -> Odd:
    """The square root of 0; above 100, of a negative number."""
    nodes = [helper.make_node("Neg", ["above"], ["below"]), helper.make_node("Sqrt", ["below"], ["odd"])]
    return nodes, {}


def greedy() -> Odd:
    """Fills (hour - 100) MB with ones, twice."""
    nodes = [
        helper.make_node("Mul", ["above", "quarter_million"], ["floats"]),
        helper.make_node("Cast", ["floats"], ["count"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["count", "one"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["ones"], value=numpy_helper.from_array(np.ones(1, np.float32))),
        helper.make_node("Neg", ["ones"], ["others"]),
        helper.make_node("Concat", ["others", "some"], ["all"], axis=0),
        helper.make_node("ReduceMax", ["all"], ["largest"], keepdims=0),
        helper.make_node("Mul", ["largest", "nothing"], ["odd"]),
    ]
    return nodes, {
        "quarter_million": np.array(250_000, dtype=np.float32),
        "one": np.array([1], dtype=np.int64),
        "some": np.ones(1, dtype=np.float32),
    }


KINDS: dict[str, Callable[[], Odd]] = {"slow": slow, "raising": raising, "nan": nan, "greedy": greedy}


def write_odd(folder: Path, seed: int, kind: str) -> PackageRef:
    """A package of version `seed` that misbehaves as `kind` says for hours above 100."""
    write_package(folder, seed)
    spoil(folder, seed, kind)
    return PackageRef(digest=digest_of(folder), uri=folder.as_uri())


def spoil(folder: Path, seed: int, kind: str) -> None:
    """Make the package of version `seed` that lies there misbehave so."""
    (folder / "parts" / "encoder.onnx").write_bytes(_encoder(weights(seed)["encoder"], *KINDS[kind]()))
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).unlink()
    write_manifest(folder, {key: value for key, value in manifest.items() if key != "files"})


def _encoder(matrix: np.ndarray, odd: list[Any], constants: dict[str, np.ndarray]) -> bytes:
    """shared = tanh(features @ matrix) + odd; odd is 0 for ordinary rows. `above`: hour - 100 where it is more."""
    nodes = [
        helper.make_node("MatMul", ["features", "w"], ["raw"]),
        helper.make_node("Tanh", ["raw"], ["own"]),
        helper.make_node("Gather", ["features", "column"], ["hours"], axis=1),
        helper.make_node("ReduceMax", ["hours"], ["hour"], keepdims=0),
        helper.make_node("Sub", ["hour", "hundred"], ["over"]),
        helper.make_node("Greater", ["over", "nothing"], ["is_odd"]),
        helper.make_node("Where", ["is_odd", "over", "nothing"], ["above"]),
        *odd,
        helper.make_node("Add", ["own", "odd"], ["shared"]),
    ]
    initializers = {
        "w": matrix,
        "column": np.array(HOUR, dtype=np.int64),
        "hundred": np.array(100, dtype=np.float32),
        "thousand": np.array(1_000, dtype=np.float32),
        "nothing": np.array(0, dtype=np.float32),
        **constants,
    }
    source = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 3])
    output = helper.make_tensor_value_info("shared", TensorProto.FLOAT, ["n", 4])
    used = {name for node in nodes for name in node.input}
    tensors = [numpy_helper.from_array(value, name) for name, value in initializers.items() if name in used]
    graph = helper.make_graph(nodes, "encoder", [source], [output], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
