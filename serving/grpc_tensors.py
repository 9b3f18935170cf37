"""Tensors in gRPC: typed contents or raw bytes become arrays, outputs become either."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from serinus.errors import BadInput
from serinus.execute import DTYPES
from serinus.tasks import Datatype, InputSpec
from serving.ask import MAX_NAMES, MAX_ROWS, Answer, Given, Tensor
from serving.binary import raw_tensor, texts

MAX_DIMS = 8
FIELDS = {
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "BOOL": "bool_contents",
    "BYTES": "bytes_contents",
}
"""Datatype -> the field of `contents` that carries its values. The datatypes that Serinus takes."""


def given_of(request: Any, specs: Mapping[str, InputSpec]) -> list[Given]:
    """The tensors of a ModelInferRequest, decoded. Raises BadInput.

    Of an input that is unknown or has another shape nothing is decoded: it is refused where all inputs are checked."""
    inputs, raw = request.inputs, request.raw_input_contents
    if len(inputs) > MAX_NAMES:
        raise BadInput(f"there are {len(inputs)} inputs, expected at most {MAX_NAMES}")
    if raw and len(raw) != len(inputs):
        raise BadInput(f"raw_input_contents has {len(raw)} entries, expected one for each of {len(inputs)} inputs")
    return [_given(tensor, raw[at] if raw else None, specs) for at, tensor in enumerate(inputs)]


def _given(tensor: Any, raw: bytes | None, specs: Mapping[str, InputSpec]) -> Given:
    name = f"input {tensor.name[:256]!r}"
    if len(tensor.shape) > MAX_DIMS:
        raise BadInput(f"{name} has {len(tensor.shape)} dimensions, expected at most {MAX_DIMS}")
    if tensor.datatype not in FIELDS:
        raise BadInput(f"{name} is {tensor.datatype[:64]!r}, expected one of {', '.join(FIELDS)}")
    if "shared_memory_region" in tensor.parameters:
        raise BadInput(f"{name} lies in shared memory, expected its values in the request")
    given = tensor.contents.ListFields()
    if raw is not None and given:
        raise BadInput(f"{name} has {given[0][0].name} beside raw_input_contents, expected one of them")
    shape, spec = list(tensor.shape), specs.get(tensor.name)
    if spec is None or tensor.datatype != spec.datatype or tuple(shape[1:]) != spec.shape:
        return Given(tensor.name, tensor.datatype, shape, np.empty(0, np.float32))
    if not shape or not 1 <= shape[0] <= MAX_ROWS:
        raise BadInput(f"{name} has {shape[0] if shape else 0} rows, expected 1 to {MAX_ROWS}")
    size = 1
    for length in shape:
        size *= length
    data = _typed(name, spec.datatype, given, size) if raw is None else raw_tensor(name, spec.datatype, raw, size)
    return Given(tensor.name, tensor.datatype, shape, data)


def _typed(name: str, datatype: Datatype, given: list[tuple[Any, Any]], size: int) -> Tensor:
    field = FIELDS[datatype]
    for other, _ in given:
        if other.name != field:
            raise BadInput(f"{name} is {datatype}, but has {other.name}, expected {field}")
    values = given[0][1] if given else ()
    if len(values) != size:
        raise BadInput(f"{name} has {len(values)} values, expected {size} by its shape")
    if datatype == "BYTES":
        return texts(name, values)
    return np.fromiter(values, dtype=DTYPES[datatype], count=size)


def fill_answer(response: Any, answer: Answer, raw: bool) -> Any:
    """An answer as a ModelInferResponse, with raw bytes or typed contents, as it was asked."""
    table, identity = answer.table, str(answer.identity)
    response.model_name = table.model
    response.model_version = ",".join(map(str, sorted({output.version for output in answer.outputs})))
    response.id = answer.said or identity
    response.parameters["arm"].string_param = answer.arm
    response.parameters["epoch"].int64_param = table.epoch
    response.parameters["rollout"].string_param = table.rollout or ""
    response.parameters["request_id"].string_param = identity
    for output in answer.outputs:
        made = response.outputs.add(name=output.task, datatype="FP32", shape=output.values.shape)
        made.parameters["version"].int64_param = output.version
        made.parameters["fallback"].string_param = output.fallback
        if raw:
            response.raw_output_contents.append(output.values.astype("<f4", copy=False).tobytes())
        else:
            made.contents.fp32_contents.extend(output.values.ravel().tolist())
    return response
