"""Tensors in gRPC: typed contents or raw bytes become arrays, outputs become either."""

from __future__ import annotations

from typing import Any

import numpy as np

from serinus.errors import BadInput
from serinus.execute import DTYPES
from serving.ask import MAX_NAMES, Answer, Given, Tensor
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


def given_of(request: Any) -> list[Given]:
    """The tensors of a ModelInferRequest as they came, decoded. Raises BadInput."""
    inputs, raw = request.inputs, request.raw_input_contents
    if len(inputs) > MAX_NAMES:
        raise BadInput(f"there are {len(inputs)} inputs, expected at most {MAX_NAMES}")
    if raw and len(raw) != len(inputs):
        raise BadInput(f"raw_input_contents has {len(raw)} entries, expected one for each of {len(inputs)} inputs")
    return [_given(tensor, raw[at] if raw else None) for at, tensor in enumerate(inputs)]


def _given(tensor: Any, raw: bytes | None) -> Given:
    name = f"input {tensor.name[:256]!r}"
    if len(tensor.shape) > MAX_DIMS:
        raise BadInput(f"{name} has {len(tensor.shape)} dimensions, expected at most {MAX_DIMS}")
    if tensor.datatype not in FIELDS:
        raise BadInput(f"{name} is {tensor.datatype[:64]!r}, expected one of {', '.join(FIELDS)}")
    if "shared_memory_region" in tensor.parameters:
        raise BadInput(f"{name} lies in shared memory, expected its values in the request")
    shape = list(tensor.shape)
    if min(shape, default=0) < 0:
        raise BadInput(f"{name} has shape {shape}, expected no negative numbers")
    size = 1
    for length in shape:
        size *= length
    given = tensor.contents.ListFields()
    if raw is None:
        data = _typed(name, tensor.datatype, given, size)
    elif given:
        raise BadInput(f"{name} has {given[0][0].name} beside raw_input_contents, expected one of them")
    else:
        data = raw_tensor(name, tensor.datatype, raw, size)
    return Given(tensor.name, tensor.datatype, shape, data)


def _typed(name: str, datatype: str, given: list[tuple[Any, Any]], size: int) -> Tensor:
    field = FIELDS[datatype]
    for other, _ in given:
        if other.name != field:
            raise BadInput(f"{name} is {datatype}, but has {other.name}, expected {field}")
    values = given[0][1] if given else ()
    if len(values) != size:
        raise BadInput(f"{name} has {len(values)} values, expected {size} by its shape")
    if datatype == "BYTES":
        return texts(name, values)
    return np.fromiter(values, dtype=DTYPES[datatype], count=size)  # type: ignore[index]  # a key of FIELDS


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
        made = response.outputs.add(name=output.task, datatype="FP32", shape=[len(output.values)])
        made.parameters["version"].int64_param = output.version
        made.parameters["fallback"].string_param = output.fallback
        if raw:
            response.raw_output_contents.append(output.values.astype("<f4", copy=False).tobytes())
        else:
            made.contents.fp32_contents.extend(output.values.tolist())
    return response
