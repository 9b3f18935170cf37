"""Somebody's ONNX graph made to fit: names of raw inputs, and answers of the shape and type that are served."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from serinus.errors import BadInput
from serinus.parts import ELEMENT
from serinus.tasks import NAME, Datatype, InputSpec
from serinus.training.describe import TaskSaid
from serinus.training.graph import IR_VERSION, OPSET

__all__ = ["answer_part", "input_of", "load", "names_of", "rename_input", "rename_output"]

DATATYPES: dict[int, Datatype] = {element: datatype for datatype, element in ELEMENT.items()}


def load(path: Path) -> Any:
    """The graph of a file. Raises BadInput when it is none."""
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf's DecodeError lives in a C module; the checker has one of its own
        raise BadInput(f"{path} is not an ONNX model: {str(error)[:300]}") from error
    return model


def names_of(model: Any) -> tuple[list[str], list[str]]:
    """(Names of its inputs without constants, names of its outputs)."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [v.name for v in model.graph.input if v.name not in constants], [v.name for v in model.graph.output]


def input_of(model: Any, name: str) -> InputSpec:
    """The raw input that a graph reads there, by a name that is allowed. A column [n, 1] is a scalar.

    Raises BadInput for a fixed batch size, or a type that callers cannot send."""
    value = next(each for each in model.graph.input if each.name == name)
    kind = value.type.tensor_type
    if kind.elem_type not in DATATYPES:
        raise BadInput(f"input {name!r} has a type that no caller can send", f"expected one of {sorted(ELEMENT)}")
    dims = list(kind.shape.dim)
    if not dims or dims[0].dim_value:
        why = f"input {name!r} has a fixed number of rows ({dims[0].dim_value if dims else 'none'})"
        raise BadInput(why, "export it with a free first dimension (torch: dynamic_axes, skl2onnx: None)")
    if any(not dim.dim_value for dim in dims[1:]):
        raise BadInput(f"input {name!r}: only its first dimension, the rows, may be free")
    shape = tuple(int(dim.dim_value) for dim in dims[1:])
    return InputSpec(name=_allowed(name), datatype=DATATYPES[kind.elem_type], shape=() if shape == (1,) else shape)


def rename_input(model: Any, name: str, spec: InputSpec) -> None:
    """Let a graph read the raw input `spec` where it read `name`: another name, or [n] where it wants [n, 1]."""
    value = next(each for each in model.graph.input if each.name == name)
    column = len(value.type.tensor_type.shape.dim) == 2 and not spec.shape
    if name == spec.name and not column:
        return
    inner = f"serinus_{name}"
    for node in model.graph.node:
        node.input[:] = [inner if each == name else each for each in node.input]
    if column:
        shape = f"serinus_{name}_shape"
        model.graph.initializer.append(numpy_helper.from_array(np.array([-1, 1], np.int64), shape))
        node = helper.make_node("Reshape", [spec.name, shape], [inner])
    else:
        node = helper.make_node("Identity", [spec.name], [inner])
    model.graph.node.insert(0, node)
    shape_ = ["n", *spec.shape]
    value.CopyFrom(helper.make_tensor_value_info(spec.name, ELEMENT[spec.datatype], shape_))


def rename_output(model: Any, name: str, new: str) -> None:
    """Give an output another name: two parts may call theirs alike."""
    value = next(each for each in model.graph.output if each.name == name)
    model.graph.node.append(helper.make_node("Identity", [name], [new]))
    value.name = new


def answer_part(model: Any, output: str, task: str, said: TaskSaid) -> Any:
    """A graph that makes the task's answers of that output of `model`: activation, column, shape, float32.

    Gives None where the output is what is served already. Raises BadInput when it cannot be one."""
    value = next(each for each in model.graph.output if each.name == output)
    if not value.type.HasField("tensor_type"):
        why = f"task {task!r}: its output {output!r} is no tensor"
        raise BadInput(why, "a classifier of scikit-learn: convert it with options={'zipmap': False}")
    kind = value.type.tensor_type
    known = kind.HasField("shape")
    dims = [int(dim.dim_value) for dim in kind.shape.dim] if known else []
    wide = said.kind == "multiclass"
    fits = known and len(dims) == (2 if wide else 1)
    if fits and kind.elem_type == TensorProto.FLOAT and said.activation == "none" and said.column is None:
        return None
    if not wide and said.column is None and len(dims) == 2 and dims[1] > 1:
        why = f"task {task!r}: its output {output!r} has {dims[1]} columns"
        raise BadInput(why, "say which one is its answer: column: 1 (a classifier's probability of 1)")
    nodes, constants, last = list[Any](), list[Any](), output
    if said.column is not None:
        constants.append(numpy_helper.from_array(np.array([said.column], np.int64), "column"))
        nodes.append(helper.make_node("Gather", [last, "column"], ["picked"], axis=1))
        last = "picked"
    if not wide:
        constants.append(numpy_helper.from_array(np.array([-1], np.int64), "flat"))
        nodes.append(helper.make_node("Reshape", [last, "flat"], ["row"]))
        last = "row"
    if kind.elem_type != TensorProto.FLOAT:
        nodes.append(helper.make_node("Cast", [last], ["number"], to=TensorProto.FLOAT))
        last = "number"
    if said.activation != "none":
        more = {"axis": -1} if said.activation == "softmax" else {}
        nodes.append(helper.make_node(said.activation.capitalize(), [last], ["active"], **more))
        last = "active"
    given = f"{task}.answer"
    nodes.append(helper.make_node("Identity", [last], [given]))
    shape = ["n", len(said.classes) or "k"] if wide else ["n"]
    read = onnx.ValueInfoProto()
    read.CopyFrom(value)
    out = helper.make_tensor_value_info(given, TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, f"answer_{task}", [read], [out], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def _allowed(name: str) -> str:
    """A name that a raw input may have, as like to this one as can be."""
    if re.fullmatch(NAME, name):
        return name
    plain = re.sub(r"[^a-z0-9_-]", "_", name.lower())[:60]
    return plain if re.match("[a-z]", plain) else f"x_{plain}"
