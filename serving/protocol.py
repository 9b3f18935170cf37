"""Open Inference Protocol v2, REST: a body becomes an `Ask`, an `Answer` becomes a body; JSON, and binary tensors."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any

import msgspec
import orjson

from serinus.errors import BadInput
from serinus.execute import DTYPES
from serinus.tasks import InputSpec
from serving.ask import Answer, Ask, Caller, Given, Output, check
from serving.binary import Tail

Short = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Text = Annotated[str, msgspec.Meta(max_length=256)]


MAX_LISTS = 100_000
"""Lists and objects of one body. With millions of them Python's collector takes seconds; numbers are cheap."""


class TensorParameters(msgspec.Struct):
    binary_data_size: int | None = None
    shared_memory_region: Any = None


class TensorIn(msgspec.Struct):
    name: Short
    shape: Annotated[list[int], msgspec.Meta(min_length=1, max_length=8)]
    datatype: Short
    data: list[Any] | None = None
    parameters: TensorParameters | None = None


class OutputParameters(msgspec.Struct):
    binary_data: bool | None = None
    classification: int = 0
    shared_memory_region: Any = None


class OutputAsk(msgspec.Struct):
    name: Short
    parameters: OutputParameters | None = None


class Parameters(msgspec.Struct):
    entity: Short | None = None
    event_time_ms: int | None = None
    join_key: Short | None = None
    attributes: Annotated[dict[Short, Text], msgspec.Meta(max_length=64)] = {}
    timeout: int | None = None
    binary_data_output: bool = False


class InferIn(msgspec.Struct):
    inputs: Annotated[list[TensorIn], msgspec.Meta(max_length=4096)]
    id: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    outputs: Annotated[list[OutputAsk], msgspec.Meta(max_length=256)] | None = None
    parameters: Parameters | None = None


_decoder = msgspec.json.Decoder(InferIn)
_NOTHING = Parameters()


def parse(
    body: bytes,
    specs: Mapping[str, InputSpec],
    tasks: Mapping[str, int],
    tail: memoryview | None = None,
) -> tuple[Ask, Collection[str]]:
    """The request, checked against the known inputs and the tasks that can be asked; and the tasks whose
    answers are wanted as bytes. `tail`: the bytes behind the JSON, if any. Raises BadInput."""
    request: InferIn = decoded(_decoder, body, "an inference request (OIP v2 JSON)")
    given = given_of(request.inputs, specs, tail)
    asked = [output.name for output in request.outputs or ()]
    return check(given, caller_of(request), asked, specs, tasks), binary_of(request, tasks)


def decoded(decoder: msgspec.json.Decoder[Any], body: bytes, what: str) -> Any:
    """What a decoder makes of a body. Raises BadInput."""
    if len(body) > MAX_LISTS and body.count(b"[") + body.count(b"{") > MAX_LISTS:
        raise BadInput(f"the body has more than {MAX_LISTS} lists and objects, expected {what} with flat data")
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadInput(f"the body is not {what}: {error}") from error


def given_of(inputs: list[TensorIn], specs: Mapping[str, InputSpec], tail: memoryview | None = None) -> list[Given]:
    """The tensors with their values, which stand in the JSON or behind it. Raises BadInput."""
    rest = Tail(tail, specs)
    found = []
    for tensor in inputs:
        data: Any = tensor.data
        if tensor.parameters is not None or data is None:
            data = _elsewhere(tensor, rest)
        found.append(Given(tensor.name, tensor.datatype, tensor.shape, data))
    rest.end()
    return found


def _elsewhere(tensor: TensorIn, rest: Tail) -> Any:
    """The values of a tensor that may have others than those in the JSON. Raises BadInput."""
    said = tensor.parameters or TensorParameters()
    if said.shared_memory_region is not None:
        raise BadInput(f"input {tensor.name!r} lies in shared memory, expected its values in the request")
    if (tensor.data is None) == (said.binary_data_size is None):
        found = "neither data nor" if tensor.data is None else "data and"
        raise BadInput(f"input {tensor.name!r} has {found} parameters.binary_data_size, expected one of them")
    if said.binary_data_size is None:
        return tensor.data
    if tensor.datatype not in DTYPES:
        raise BadInput(f"input {tensor.name!r} is {tensor.datatype}, expected one of {', '.join(DTYPES)}")
    return rest.take(tensor.name, tensor.datatype, tensor.shape, said.binary_data_size)


def binary_of(request: InferIn, tasks: Mapping[str, int]) -> Collection[str]:
    """The tasks that are to be answered in bytes. Raises BadInput."""
    everything = request.parameters is not None and request.parameters.binary_data_output
    if not request.outputs:
        return tasks if everything else ()
    wanted = []
    for output in request.outputs:
        said = output.parameters
        if said is not None and said.classification:
            raise BadInput(f"output {output.name!r} is asked for as classification, expected none: it is numbers")
        if said is not None and said.shared_memory_region is not None:
            raise BadInput(f"output {output.name!r} is wanted in shared memory, expected none")
        if everything if said is None or said.binary_data is None else said.binary_data:
            wanted.append(output.name)
    return wanted


def caller_of(request: InferIn) -> Caller:
    """What the request says of itself."""
    said = request.parameters or _NOTHING
    return Caller(
        id=request.id or "",
        entity=said.entity or "",
        event_time_ms=said.event_time_ms,
        join_key=said.join_key or "",
        attributes=said.attributes,
        timeout_us=said.timeout,
    )


def render(answer: Answer, binary: Collection[str] = ()) -> tuple[bytes, int]:
    """(The OIP v2 answer, the length of its JSON; 0 when it is all of it).

    `model_version` lists each version once, in rising order. `binary`: tasks whose values follow as bytes."""
    outputs = [output_of(output, output.task in binary) for output in answer.outputs]
    said = orjson.dumps({**head_of(answer), "outputs": outputs}, option=orjson.OPT_SERIALIZE_NUMPY)
    return with_values(said, answer.outputs, binary)


def head_of(answer: Answer) -> dict[str, Any]:
    """What an answer says before its outputs."""
    table, identity = answer.table, str(answer.identity)
    return {
        "model_name": table.model,
        "model_version": ",".join(map(str, sorted({output.version for output in answer.outputs}))),
        "id": answer.said or identity,
        "parameters": {
            "arm": answer.arm,
            "epoch": table.epoch,
            "rollout": table.rollout or "",
            "request_id": identity,
        },
    }


def with_values(said: bytes, outputs: Sequence[Output], binary: Collection[str]) -> tuple[bytes, int]:
    """(The JSON and, behind it, the values of the tasks that are wanted as bytes; the JSON's length, 0 without any)."""
    if not binary:
        return said, 0
    values = [output.values.astype("<f4").tobytes() for output in outputs if output.task in binary]
    return b"".join((said, *values)), len(said)


def output_of(output: Output, binary: bool) -> dict[str, Any]:
    parameters: dict[str, Any] = {"version": output.version, "fallback": output.fallback}
    values = output.values
    found = {"name": output.task, "datatype": "FP32", "shape": list(values.shape), "parameters": parameters}
    if binary:
        parameters["binary_data_size"] = 4 * values.size
    else:
        found["data"] = values if values.ndim == 1 else values.ravel()
    return found
