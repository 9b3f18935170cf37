"""A package with matrices large enough to be worth 8 bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from serinus.execute import Executor
from serinus.package import write_manifest

WIDTH, HIDDEN = 64, 128
TASKS = ("late", "cancelled")


def rows(count: int, seed: int = 1) -> np.ndarray:
    """Inputs as callers send them, float32 [count, WIDTH]."""
    return np.random.default_rng(seed).normal(size=(count, WIDTH)).astype(np.float32)


def write_wide(folder: Path) -> Path:
    """One input `x` of 64 numbers, an encoder 64-128-128, two heads; fit to be registered."""
    random = np.random.default_rng(0)

    def matrix(*shape: int) -> np.ndarray:
        return (random.normal(size=shape) * np.sqrt(2 / shape[0])).astype(np.float32)

    (folder / "parts").mkdir(parents=True)
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["first"]),
        helper.make_node("Relu", ["first"], ["bent"]),
        helper.make_node("MatMul", ["bent", "b"], ["second"]),
        helper.make_node("Relu", ["second"], ["shared"]),
    ]
    constants = {"a": matrix(WIDTH, HIDDEN), "b": matrix(HIDDEN, HIDDEN)}
    _write(folder / "parts/encoder.onnx", nodes, ("x", ["n", WIDTH]), ("shared", ["n", HIDDEN]), constants)
    parts = [{"name": "encoder", "role": "encoder", "inputs": ["x"], "outputs": ["shared"]}]
    for task in TASKS:
        head = [
            helper.make_node("MatMul", ["shared", "w"], ["logit"]),
            helper.make_node("Sigmoid", ["logit"], ["p"]),
            helper.make_node("Squeeze", ["p", "axis"], [task]),
        ]
        constants = {"w": matrix(HIDDEN, 1) / 4, "axis": np.array([1], np.int64)}
        _write(folder / f"parts/{task}.onnx", head, ("shared", ["n", HIDDEN]), (task, ["n"]), constants)
        parts.append({"name": task, "role": "head", "inputs": ["shared"], "outputs": [task]})
    told = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [WIDTH]}],
        "parts": [{**part, "file": f"parts/{part['name']}.onnx"} for part in parts],
        "tasks": [{"name": task, "kind": "binary", "output": task, "base_rate": 0.5} for task in TASKS],
    }
    (folder / "baseline.json").write_text(json.dumps({"tasks": {task: {} for task in TASKS}}))
    (folder / "sample.json").write_text("{}")
    write_manifest(folder, told)
    found = Executor(folder).run({"x": rows(4)})
    outputs = {task: values.tolist() for task, values in found.items()}
    (folder / "sample.json").write_text(json.dumps({"inputs": {"x": rows(4).tolist()}, "outputs": outputs}))
    write_manifest(folder, told)
    return folder


def _write(path: Path, nodes: list[Any], given: Any, gives: Any, constants: dict[str, np.ndarray]) -> None:
    source, output = (helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in (given, gives))
    initializers = [numpy_helper.from_array(value, key) for key, value in constants.items()]
    graph = helper.make_graph(nodes, path.stem, [source], [output], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
