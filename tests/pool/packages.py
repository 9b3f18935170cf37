"""Small real packages whose answers numpy can compute."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from serinus.package import digest_of, write_manifest
from serinus.routes import PackageRef

ORIGINS = ["EWR", "JFK", "LGA"]


def weights(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    shapes = {"encoder": (3, 4), "late": (4, 1), "cancelled": (4, 1)}
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def expected(seed: int, task: str, origin: str, delay: float | None, hour: float) -> float:
    """What version `seed` answers, by numpy: the oracle of the graphs below."""
    codes = {"EWR": 1.0, "JFK": 2.0, "LGA": 3.0}
    features = np.array([codes.get(origin, -1.0), -5.0 if delay is None else delay, hour], dtype=np.float64)
    own = weights(seed)
    logit = np.tanh(features @ own["encoder"]) @ own[task]
    return float(1 / (1 + np.exp(-logit[0])))


def _graph(name: str, nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, Any]) -> bytes:
    initializers = [numpy_helper.from_array(value, key) for key, value in constants.items()]
    graph = helper.make_graph(nodes, name, inputs, outputs, initializers)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _preprocess() -> bytes:
    def value(name: str, kind: int) -> Any:
        return helper.make_tensor_value_info(name, kind, ["n"])

    nodes = [
        helper.make_node(
            "LabelEncoder", ["origin"], ["code"], domain="ai.onnx.ml",
            keys_strings=ORIGINS, values_floats=[1.0, 2.0, 3.0], default_float=-1.0,
        ),
        helper.make_node("IsNaN", ["delay"], ["gone"]),
        helper.make_node("Where", ["gone", "fill", "delay"], ["known"]),
        *(helper.make_node("Unsqueeze", [name, "axis"], [f"{name}_1"]) for name in ("code", "known", "hour")),
        helper.make_node("Concat", ["code_1", "known_1", "hour_1"], ["features"], axis=1),
    ]  # fmt: skip
    inputs = [value("origin", TensorProto.STRING), value("delay", TensorProto.FLOAT), value("hour", TensorProto.FLOAT)]
    output = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 3])
    constants = {"fill": np.array(-5.0, dtype=np.float32), "axis": np.array([1], dtype=np.int64)}
    return _graph("preprocess", nodes, inputs, [output], constants)


def _encoder(matrix: np.ndarray) -> bytes:
    nodes = [helper.make_node("MatMul", ["features", "w"], ["raw"]), helper.make_node("Tanh", ["raw"], ["shared"])]
    source = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 3])
    output = helper.make_tensor_value_info("shared", TensorProto.FLOAT, ["n", 4])
    return _graph("encoder", nodes, [source], [output], {"w": matrix})


def _head(task: str, matrix: np.ndarray) -> bytes:
    nodes = [
        helper.make_node("MatMul", ["shared", "w"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["p"]),
        helper.make_node("Squeeze", ["p", "axis"], [task]),
    ]
    source = helper.make_tensor_value_info("shared", TensorProto.FLOAT, ["n", 4])
    output = helper.make_tensor_value_info(task, TensorProto.FLOAT, ["n"])
    return _graph(task, nodes, [source], [output], {"w": matrix, "axis": np.array([1], dtype=np.int64)})


def write_package(folder: Path, seed: int, spoil_sample: bool = False) -> PackageRef:
    """A package of version `seed`: origin (text), delay (nullable), hour; tasks late and cancelled."""
    own = weights(seed)
    (folder / "parts").mkdir(parents=True)
    (folder / "parts" / "preprocess.onnx").write_bytes(_preprocess())
    (folder / "parts" / "encoder.onnx").write_bytes(_encoder(own["encoder"]))
    rows: list[tuple[str, float | None, float]] = [("EWR", 3.0, 7.0), ("LGA", None, 12.0), ("", -4.0, 23.0)]
    outputs = {t: [expected(seed, t, *row) + spoil_sample for row in rows] for t in ("late", "cancelled")}
    inputs = {"origin": [r[0] for r in rows], "delay": [r[1] for r in rows], "hour": [r[2] for r in rows]}
    (folder / "sample.json").write_text(json.dumps({"inputs": inputs, "outputs": outputs}))
    (folder / "baseline.json").write_text("{}")
    parts = [
        {"name": "preprocess", "role": "preprocess", "inputs": ["origin", "delay", "hour"], "outputs": ["features"]},
        {"name": "encoder", "role": "encoder", "inputs": ["features"], "outputs": ["shared"]},
    ]
    for task in ("late", "cancelled"):
        (folder / "parts" / f"{task}.onnx").write_bytes(_head(task, own[task]))
        parts.append({"name": task, "role": "head", "inputs": ["shared"], "outputs": [task]})
    write_manifest(
        folder,
        {
            "inputs": [
                {"name": "origin", "datatype": "BYTES", "nullable": True},
                {"name": "delay", "datatype": "FP32", "nullable": True, "required": False},
                {"name": "hour", "datatype": "FP32"},
            ],
            "parts": [{**part, "file": f"parts/{part['name']}.onnx"} for part in parts],
            "tasks": [{"name": t, "kind": "binary", "output": t, "base_rate": 0.2} for t in ("late", "cancelled")],
        },
    )
    return PackageRef(digest=digest_of(folder), uri=folder.as_uri())
