"""One graph with narrower numbers: 8-bit products, or weights in half precision."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from serinus.parts import DOMAINS

__all__ = ["halve_weights", "large_products", "to_int8"]

CALIBRATION_ROWS = 256
LEAST_WIDTH = 8
"""A product of fewer columns is a last layer: 8 bits would make its probabilities coarse, and it costs little."""


def large_products(model: Any, least_weights: int) -> list[str]:
    """Names of the nodes that multiply by a constant matrix of at least so many weights; unnamed ones get a name."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    found = []
    for at, node in enumerate(model.graph.node):
        node.name = node.name or f"node_{at}"
        shape = shapes.get(node.input[1], ()) if node.op_type in ("MatMul", "Gemm") else ()
        if len(shape) == 2 and min(shape) >= LEAST_WIDTH and int(np.prod(shape)) >= least_weights:
            found.append(node.name)
    return found


def to_int8(path: Path, products: Sequence[str], inputs: Mapping[str, npt.NDArray[Any]]) -> None:
    """Let the graph do these products with 8-bit integers. `inputs`: what its inputs are like, [n, ...] each.

    Their results stay floats, so that only inputs and weights are rounded."""
    with tempfile.TemporaryDirectory() as scratch:
        named, narrow = Path(scratch, "named.onnx"), Path(scratch, "narrow.onnx")
        model = onnx.load(path)
        large_products(model, 0)
        onnx.save(model, named)
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)  # it recommends a preparation that these graphs do not need
        try:
            quantize_static(
                named,
                narrow,
                _Rows(inputs),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["MatMul", "Gemm"],
                nodes_to_quantize=list(products),
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]},
            )
        finally:
            logging.disable(before)
        _write(onnx.load(narrow), path)


class _Rows(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Some rows at a time, as the calibration asks for them."""

    def __init__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> None:
        count = len(next(iter(inputs.values())))
        self._parts = iter(
            [
                {name: tensor[at : at + CALIBRATION_ROWS] for name, tensor in inputs.items()}
                for at in range(0, count, CALIBRATION_ROWS)
            ]
        )

    def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
        return next(self._parts, None)


def halve_weights(path: Path, least_weights: int) -> bool:
    """Keep the large constants in half precision: True when there are any. ONNX Runtime widens them when it loads."""
    model = onnx.load(path)
    casts, kept = [], []
    for tensor in model.graph.initializer:
        wide = numpy_helper.to_array(tensor)
        fits = wide.dtype == np.float32 and wide.size >= least_weights and np.abs(wide).max() < np.finfo(np.float16).max
        if fits:
            kept.append(numpy_helper.from_array(wide.astype(np.float16), f"{tensor.name}.half"))
            casts.append(helper.make_node("Cast", [f"{tensor.name}.half"], [tensor.name], to=TensorProto.FLOAT))
        else:
            kept.append(tensor)
    if not casts:
        return False
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    _write(model, path)
    return True


def _write(model: Any, path: Path) -> None:
    """Check the graph and write it, without the operator sets that none of its nodes uses."""
    used = [opset for opset in model.opset_import if opset.domain in DOMAINS]
    del model.opset_import[:]
    model.opset_import.extend(used)
    onnx.checker.check_model(model)
    onnx.save(model, path)
