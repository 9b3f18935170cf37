"""Packages that `serinus.training` does not make: two towers for ranking, and a head whose graph loops."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from benchmarks.packages import TASKS, WIDTH, dense, graph, kept
from serinus.execute import Executor
from serinus.inspect import inspect_package
from serinus.package import read_manifest, write_manifest

ITEM_WIDTH, JOINT = 32, 64
Sample = dict[str, npt.NDArray[Any]]


@dataclass
class Draft:
    """A package in the making: parts with their graphs; `write` adds the sample, which the parts themselves answer."""

    folder: Path
    inputs: list[dict[str, Any]]
    parts: list[dict[str, Any]] = field(default_factory=list)

    def add(self, name: str, role: str, model: bytes, reads: list[str], gives: str, *, cache: bool = False) -> None:
        (self.folder / "parts").mkdir(parents=True, exist_ok=True)
        (self.folder / f"parts/{name}.onnx").write_bytes(model)
        made = {"name": name, "role": role, "file": f"parts/{name}.onnx", "inputs": reads, "outputs": [gives]}
        self.parts.append({**made, "cache": cache})

    def write(self, sample: Sample) -> None:
        tasks = [
            {"name": part["name"], "kind": "binary", "output": part["outputs"][0], "base_rate": 0.3}
            for part in self.parts
            if part["role"] == "head"
        ]
        self._finish(tasks, sample, {})
        outputs = {task: values.tolist() for task, values in Executor(self.folder).run(sample).items()}
        self._finish(tasks, sample, outputs)
        inspect_package(self.folder)

    def _finish(
        self, tasks: list[dict[str, Any]], sample: dict[str, npt.NDArray[Any]], outputs: dict[str, Any]
    ) -> None:
        inputs = {name: values.tolist() for name, values in sample.items()}
        (self.folder / "sample.json").write_text(json.dumps({"inputs": inputs, "outputs": outputs}))
        (self.folder / "baseline.json").write_text(json.dumps({"tasks": {task["name"]: {} for task in tasks}}))
        write_manifest(self.folder, {"inputs": self.inputs, "parts": self.parts, "tasks": tasks})


def layers(name: str, read: str, gives: str, sizes: list[int], last: str = "Relu") -> bytes:
    """Linear layers of these sizes with Relu between them; a `last` of Sigmoid gives [n], of one column."""
    random = np.random.default_rng(len(name) + sum(sizes))
    nodes, constants, tensor = [], dict[str, npt.NDArray[Any]](), read
    for at, (width, size) in enumerate(pairwise(sizes)):
        constants[f"w{at}"] = (random.normal(size=(width, size)) * np.sqrt(2 / width)).astype(np.float32)
        constants[f"b{at}"] = np.zeros(size, np.float32)
        kind = last if at == len(sizes) - 2 else "Relu"
        nodes.append(helper.make_node("Gemm", [tensor, f"w{at}", f"b{at}"], [f"z{at}"]))
        nodes.append(helper.make_node(kind, [f"z{at}"], [tensor := f"a{at}"]))
    if last == "Sigmoid":
        constants["column"] = np.array([1], np.int64)
        nodes.append(helper.make_node("Squeeze", [tensor, "column"], [gives]))
    else:
        nodes.append(helper.make_node("Identity", [tensor], [gives]))
    return graph(name, nodes, {read: sizes[0]}, {gives: 0 if last == "Sigmoid" else sizes[-1]}, constants)


def towers() -> Path:
    """A user tower 256-512-512-64 (which may be cached), an item tower 32-64-64, their product, four heads."""

    def make(folder: Path) -> None:
        wide = [{"name": n, "datatype": "FP32", "shape": [w]} for n, w in (("user", WIDTH), ("item", ITEM_WIDTH))]
        draft = Draft(folder, wide)
        user = layers("user", "user", "user.tower", [WIDTH, 512, 512, JOINT])
        draft.add("user_tower", "tower", user, ["user"], "user.tower", cache=True)
        item = layers("item", "item", "item.tower", [ITEM_WIDTH, JOINT, JOINT])
        draft.add("item_tower", "tower", item, ["item"], "item.tower")
        node = helper.make_node("Mul", ["user.tower", "item.tower"], ["joint"])
        both = {"user.tower": JOINT, "item.tower": JOINT}
        draft.add("joint", "mixer", graph("joint", [node], both, {"joint": JOINT}, {}), [*both], "joint")
        for task in TASKS:
            head = layers(task, "joint", f"{task}.p", [JOINT, 32, 1], last="Sigmoid")
            draft.add(task, "head", head, ["joint"], f"{task}.p")
        random = np.random.default_rng(3)
        draft.write({n: random.normal(size=(4, w)).astype(np.float32) for n, w in (("user", 256), ("item", 32))})

    return kept("towers", make, Path(__file__))


def hanging(seed: int = 0) -> Path:
    """The dense model, whose head `buy` turns a loop `spin` times (one more input) before it answers.

    Another `seed` is another version with the same graphs: what one is guilty of is not held against the other."""

    def make(folder: Path) -> None:
        source = dense()
        was = read_manifest(source)
        inputs = [spec.model_dump() for spec in was.inputs]
        draft = Draft(folder, [*inputs, {"name": "spin", "datatype": "INT64"}])
        for part in was.parts:
            model, reads, name = (source / part.file).read_bytes(), list(part.inputs), part.name.removeprefix("head_")
            if name == "buy":
                model, reads = _with_loop(model), [*reads, "spin"]
            draft.add(name, part.role, model, reads, part.outputs[0])
        rows = np.random.default_rng(5 + seed).normal(size=(4, WIDTH)).astype(np.float32)
        draft.write({"features": rows, "spin": np.zeros(4, np.int64)})

    return kept(f"hanging-{seed}", make, Path(__file__))


def _with_loop(head: bytes) -> bytes:
    """The same head behind a loop that multiplies the embedding by 1 as often as the largest `spin` says."""
    model = onnx.load_from_string(head)
    made = model.graph
    embedding = made.input[0].name
    for node in made.node:
        node.input[:] = ["looped" if name == embedding else name for name in node.input]
    width = made.input[0].type.tensor_type.shape.dim[1].dim_value
    turn = helper.make_graph(
        [helper.make_node("Identity", ["go_on"], ["goes_on"]), helper.make_node("Mul", ["before", "one"], ["after"])],
        "turn",
        [
            helper.make_tensor_value_info("turns", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, ["n", width]),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, ["n", width]),
        ],
    )
    made.initializer.extend(
        [
            helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
            helper.make_tensor("yes", TensorProto.BOOL, [], [True]),
        ]
    )
    nodes = [
        helper.make_node("ReduceMax", ["spin"], ["most"], keepdims=0),
        helper.make_node("Loop", ["most", "yes", embedding], ["looped"], body=turn),
    ]
    for node in reversed(nodes):
        made.node.insert(0, node)
    made.input.append(helper.make_tensor_value_info("spin", TensorProto.INT64, ["n"]))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
