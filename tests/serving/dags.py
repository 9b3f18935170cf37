"""Packages of any DAG of small real graphs, and heads that misbehave for some rows.

Every tensor between parts is float32 [n, WIDTH]; a raw input is FP32 [n, WIDTH] too, or a text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from serinus.package import Manifest, digest_of, read_manifest, write_manifest
from serving.engine import Engine
from serving.process import Process
from tests.pool.packages import ORIGINS

WIDTH = 4
TEXT = "origin"


@dataclass(frozen=True)
class Node:
    """One part. `task`: it gives that task's probability beside its tensor. `odd`: how it misbehaves."""

    name: str
    reads: tuple[str, ...]
    task: str = ""
    role: str = "encoder"
    cache: bool = False
    odd: str = ""


def write_dag(folder: Path, raws: Sequence[str], nodes: Sequence[Node], seed: int = 0) -> Manifest:
    """A package. What a node reads are raw inputs or nodes, by name; raw `origin` is a text."""
    random = np.random.default_rng(seed)
    (folder / "parts").mkdir(parents=True)
    for node in nodes:
        weights = random.normal(size=(len(node.reads), WIDTH, WIDTH)).astype(np.float32)
        (folder / "parts" / f"{node.name}.onnx").write_bytes(_graph(node, weights))
    rows = [[0.5] * WIDTH, [-1.0] * WIDTH]
    columns: dict[str, Any] = {raw: ORIGINS[:2] if raw == TEXT else rows for raw in raws}
    (folder / "sample.json").write_text(json.dumps({"inputs": columns, "outputs": {}}))
    (folder / "baseline.json").write_text("{}")
    return write_manifest(
        folder,
        {
            "inputs": [
                {"name": TEXT, "datatype": "BYTES", "nullable": True}
                if raw == TEXT
                else {"name": raw, "datatype": "FP32", "shape": [WIDTH], "nullable": True}
                for raw in raws
            ],
            "parts": [
                {
                    "name": node.name,
                    "role": node.role,
                    "file": f"parts/{node.name}.onnx",
                    "inputs": list(node.reads),
                    "outputs": [node.name, f"{node.name}.p"] if node.task else [node.name],
                    "cache": node.cache,
                }
                for node in nodes
            ],
            "tasks": [
                {"name": node.task, "kind": "binary", "output": f"{node.name}.p", "base_rate": 0.25}
                for node in nodes
                if node.task
            ],
        },
    )


def engine_of(folder: Path, shared: Process | None = None) -> Engine:
    """The engine of a package made here, warm."""
    engine = Engine(folder, read_manifest(folder), digest_of(folder), shared)
    engine.check_sample()
    engine.warm_up()
    return engine


def _graph(node: Node, weights: np.ndarray) -> bytes:
    """tanh(sum of its inputs, each by a matrix of its own), and its sigmoid's first column where it has a task."""
    nodes: list[Any] = []
    inputs, terms = [], []
    constants: dict[str, Any] = {"axis": np.array([1], np.int64), "first": np.array(0, np.int64)}
    for at, name in enumerate(node.reads):
        source = name
        if name == TEXT:
            inputs.append(helper.make_tensor_value_info(name, TensorProto.STRING, ["n"]))
            nodes += [
                helper.make_node(
                    "LabelEncoder", [name], ["code"], domain="ai.onnx.ml",
                    keys_strings=ORIGINS, values_floats=[0.1, 0.2, 0.3], default_float=-0.1,
                ),
                helper.make_node("Unsqueeze", ["code", "axis"], ["column"]),
                helper.make_node("Concat", ["column"] * WIDTH, ["wide"], axis=1),
            ]  # fmt: skip
            source = "wide"
        else:
            inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", WIDTH]))
        constants[f"w{at}"] = weights[at]
        nodes.append(helper.make_node("MatMul", [source, f"w{at}"], [f"t{at}"]))
        terms.append(f"t{at}")
    nodes += [helper.make_node("Sum", terms, ["sum"]), helper.make_node("Tanh", ["sum"], [node.name])]
    outputs = [helper.make_tensor_value_info(node.name, TensorProto.FLOAT, ["n", WIDTH])]
    if node.task:
        nodes += [
            helper.make_node("Sigmoid", [node.name], ["all"]),
            helper.make_node("Gather", ["all", "first"], ["good"], axis=1),
        ]
        odd, more = ODD[node.odd](node.reads[0])
        nodes += odd
        constants |= more
        shape = [None] if node.odd == "shape" else ["n"]
        outputs.append(helper.make_tensor_value_info(f"{node.name}.p", TensorProto.FLOAT, shape))
        nodes.append(helper.make_node("Identity", ["answer"], [f"{node.name}.p"]))
    used = {name for each in nodes for name in each.input}
    used |= {name for each in nodes for attribute in each.attribute for n in attribute.g.node for name in n.input}
    tensors = [numpy_helper.from_array(value, key) for key, value in constants.items() if key in used]
    graph = helper.make_graph(nodes, node.name, inputs, outputs, tensors)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


Odd = tuple[list[Any], dict[str, Any]]
"""From `good` to `answer`; odd are requests where the largest value of the first input is above 100."""


def _above(source: str) -> tuple[list[Any], dict[str, Any]]:
    nodes = [
        helper.make_node("ReduceMax", [source], ["most"], keepdims=0),
        helper.make_node("Sub", ["most", "hundred"], ["over"]),
        helper.make_node("Max", ["over", "nothing"], ["above"]),
    ]
    return nodes, {"hundred": np.float32(100), "nothing": np.float32(0)}


def _sound(_source: str) -> Odd:
    return [helper.make_node("Identity", ["good"], ["answer"])], {}


def _loop(source: str) -> Odd:
    """(above) million turns of a loop, whose sum of nothings is added."""
    nodes, constants = _above(source)
    info = helper.make_tensor_value_info
    turn = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Add", ["before", "nothing"], ["after"])],
        "turn",
        [info("i", TensorProto.INT64, []), info("go", TensorProto.BOOL, []), info("before", TensorProto.FLOAT, [])],
        [info("go_on", TensorProto.BOOL, []), info("after", TensorProto.FLOAT, [])],
    )
    nodes += [
        helper.make_node("Mul", ["above", "million"], ["turns"]),
        helper.make_node("Cast", ["turns"], ["times"], to=TensorProto.INT64),
        helper.make_node("Loop", ["times", "true", "nothing"], ["sum_of_nothings"], body=turn),
        helper.make_node("Add", ["good", "sum_of_nothings"], ["answer"]),
    ]
    return nodes, constants | {"million": np.float32(1e6), "true": np.array(True)}


def _long(source: str) -> Odd:
    """One product of two matrices, of (1 + above) rows of ones each: a single node that nothing can end."""
    nodes, constants = _above(source)
    nodes += [
        helper.make_node("Add", ["above", "one"], ["size"]),
        helper.make_node("Cast", ["size"], ["count"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["count", "axis"], ["counts"]),
        helper.make_node("Concat", ["counts", "counts"], ["square"], axis=0),
        helper.make_node("ConstantOfShape", ["square"], ["zeros"]),
        helper.make_node("MatMul", ["zeros", "zeros"], ["product"]),
        helper.make_node("ReduceMax", ["product"], ["zero"], keepdims=0),
        helper.make_node("Add", ["good", "zero"], ["answer"]),
    ]
    return nodes, constants | {"one": np.float32(1)}


def _nan(source: str) -> Odd:
    """The square root of 0; of a negative number where it is odd."""
    nodes, constants = _above(source)
    nodes += [
        helper.make_node("Neg", ["above"], ["below"]),
        helper.make_node("Sqrt", ["below"], ["root"]),
        helper.make_node("Add", ["good", "root"], ["answer"]),
    ]
    return nodes, constants


def _more_than_one(source: str) -> Odd:
    nodes, constants = _above(source)
    return [*nodes, helper.make_node("Add", ["good", "above"], ["answer"])], constants


def _raises(source: str) -> Odd:
    """Looks up row `above` of a table of one row."""
    nodes, constants = _above(source)
    nodes += [
        helper.make_node("Cast", ["above"], ["row"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "row"], ["found"], axis=0),
        helper.make_node("Add", ["good", "found"], ["answer"]),
    ]
    return nodes, constants | {"table": np.zeros(1, np.float32)}


def _shape(source: str) -> Odd:
    """(1 + above) times as many answers."""
    nodes, constants = _above(source)
    nodes += [
        helper.make_node("Add", ["above", "one"], ["times"]),
        helper.make_node("Cast", ["times"], ["copies"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["copies", "axis"], ["repeats"]),
        helper.make_node("Tile", ["good", "repeats"], ["answer"]),
    ]
    return nodes, constants | {"one": np.float32(1)}


ODD = {
    "": _sound,
    "loop": _loop,
    "long": _long,
    "nan": _nan,
    "beyond": _more_than_one,
    "raises": _raises,
    "shape": _shape,
}
