"""A small builder of ONNX graphs: one line a node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from serinus.parts import ELEMENT
from serinus.tasks import InputSpec

__all__ = ["ML", "OPSET", "Graph"]

ML = "ai.onnx.ml"
IR_VERSION, OPSET, ML_OPSET = 8, 17, 3
"""Old enough for every ONNX Runtime that we accept, new enough for what we use."""


class Graph:
    """Nodes and constants under construction. Tensors are known by their names."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.inputs: dict[str, InputSpec] = {}

    def read(self, spec: InputSpec) -> str:
        """The tensor of a raw input, shape [n]."""
        self.inputs[spec.name] = spec
        return spec.name

    def constant(self, value: np.ndarray[Any, Any]) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def vector(self, values: Sequence[float]) -> str:
        """A constant of float64."""
        return self.constant(np.asarray(values, dtype=np.float64))

    def node(self, op: str, *inputs: str, domain: str = "", out: str | None = None, **attributes: Any) -> str:
        name = out or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], domain=domain, name=name, **attributes))
        return name

    def double(self, tensor: str) -> str:
        return self.node("Cast", tensor, to=TensorProto.DOUBLE)

    def columns(self, vectors: Sequence[str]) -> str:
        """Vectors of shape [n] side by side: [n, k]. Three nodes, however many there are."""
        flat = self.node("Concat", *vectors, axis=0)
        shape = self.constant(np.asarray([len(vectors), -1], dtype=np.int64))
        return self.node("Transpose", self.node("Reshape", flat, shape), perm=[1, 0])

    def lookup(self, text: str, keys: Sequence[str], values: Sequence[float], default: float) -> str:
        """float32 [n]: `values[i]` where the text is `keys[i]`, else `default`."""
        return self.node(
            "LabelEncoder",
            text,
            domain=ML,
            keys_strings=list(keys),
            values_floats=[float(value) for value in values],
            default_float=float(default),
        )

    def index(self, text: str, keys: Sequence[str], first: int, default: int) -> str:
        """int64 [n]: `first` + the place of the text among `keys`, else `default`."""
        return self.node(
            "LabelEncoder",
            text,
            domain=ML,
            keys_strings=list(keys),
            values_int64s=list(range(first, first + len(keys))),
            default_int64=default,
        )

    def model(self, outputs: dict[str, tuple[int, int]]) -> Any:
        """The checked ModelProto. `outputs`: tensor -> (element type, columns)."""
        graph = helper.make_graph(
            self.nodes,
            self.name,
            [helper.make_tensor_value_info(s.name, ELEMENT[s.datatype], ["n"]) for s in self.inputs.values()],
            [helper.make_tensor_value_info(name, kind, ["n", width]) for name, (kind, width) in outputs.items()],
            self.constants,
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML, ML_OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="serinus")
        onnx.checker.check_model(model)
        return model
