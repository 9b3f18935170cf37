"""One part of a package against what the manifest says of it: names, types, operators, constants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from serinus.errors import InvalidPackage
from serinus.package import Manifest, Part
from serinus.tasks import Datatype

__all__ = ["DOMAINS", "ELEMENT", "check_part"]

DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
"""Operators that a part may use: the standard's, nothing that would load code."""

ELEMENT: dict[Datatype, int] = {
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "BOOL": TensorProto.BOOL,
    "BYTES": TensorProto.STRING,
}
FLOATING = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}


def check_part(manifest: Manifest, part: Part, path: Path) -> None:
    """The graph's inputs and outputs by name and order, its operators, its constants."""
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's DecodeError lives in a C module, under a name that has moved before
        raise InvalidPackage(f"part {part.name!r}: {part.file} is not an ONNX graph: {error}") from error
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    for kind, found, said in (
        ("inputs", [value.name for value in inputs], part.inputs),
        ("outputs", [value.name for value in model.graph.output], part.outputs),
    ):
        if found != list(said):
            raise InvalidPackage(
                f"part {part.name!r}: the {kind} of its graph are {found}, the manifest says {list(said)}"
            )
    raw = {spec.name: spec for spec in manifest.inputs}
    for value in inputs:
        spec = raw.get(value.name)
        if spec is not None and value.type.tensor_type.elem_type != ELEMENT[spec.datatype]:
            raise InvalidPackage(f"part {part.name!r}: its graph does not read {value.name!r} as {spec.datatype}")
    if len(model.functions):
        raise InvalidPackage(f"part {part.name!r}: {part.file} defines functions; export it with them inlined")
    for node in _nodes(model.graph):
        if node.domain not in DOMAINS:
            raise InvalidPackage(f"part {part.name!r}: operator {node.domain}.{node.op_type} is not of {DOMAINS[1:]}")
    for tensor in _tensors(model.graph):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise InvalidPackage(f"part {part.name!r}: constant {tensor.name!r} lies in another file (external data)")
        if tensor.data_type in FLOATING and not np.isfinite(numpy_helper.to_array(tensor)).all():
            raise InvalidPackage(f"part {part.name!r}: constant {tensor.name!r} has NaN or infinite values")


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _tensors(inner)
