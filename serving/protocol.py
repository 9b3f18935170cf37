"""Open Inference Protocol v2, JSON: a body becomes an `Ask`, an `Answer` becomes a body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import orjson

from serinus.errors import BadInput
from serinus.tasks import InputSpec
from serving.ask import Answer, Ask, Caller, Given, check

Short = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Text = Annotated[str, msgspec.Meta(max_length=256)]


class TensorIn(msgspec.Struct):
    name: Short
    shape: Annotated[list[int], msgspec.Meta(min_length=1, max_length=8)]
    datatype: Short
    data: list[Any]


class OutputAsk(msgspec.Struct):
    name: Short


class Parameters(msgspec.Struct):
    entity: Short | None = None
    event_time_ms: int | None = None
    join_key: Short | None = None
    attributes: Annotated[dict[Short, Text], msgspec.Meta(max_length=64)] = {}
    timeout: int | None = None


class InferIn(msgspec.Struct):
    inputs: Annotated[list[TensorIn], msgspec.Meta(max_length=4096)]
    id: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    outputs: Annotated[list[OutputAsk], msgspec.Meta(max_length=256)] | None = None
    parameters: Parameters | None = None


_decoder = msgspec.json.Decoder(InferIn)
_NOTHING = Parameters()


def parse(body: bytes, specs: Mapping[str, InputSpec], tasks: Mapping[str, int], *, ranking: bool = False) -> Ask:
    """The request in `body`, checked against the known inputs and the tasks that can be asked. Raises BadInput."""
    try:
        request = _decoder.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadInput(f"the body is not an inference request (OIP v2 JSON): {error}") from error
    given = [Given(tensor.name, tensor.datatype, tensor.shape, tensor.data) for tensor in request.inputs]
    asked = [output.name for output in request.outputs or ()]
    return check(given, caller_of(request), asked, specs, tasks, ranking=ranking)


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


def render(answer: Answer) -> bytes:
    """The OIP v2 answer as JSON bytes. `model_version` lists each version once, in rising order."""
    versions = ",".join(map(str, sorted({output.version for output in answer.outputs})))
    table, identity = answer.table, str(answer.identity)
    return orjson.dumps(
        {
            "model_name": table.model,
            "model_version": versions,
            "id": answer.said or identity,
            "parameters": {
                "arm": answer.arm,
                "epoch": table.epoch,
                "rollout": table.rollout or "",
                "request_id": identity,
            },
            "outputs": [
                {
                    "name": output.task,
                    "datatype": "FP32",
                    "shape": [len(output.values)],
                    "data": output.values,
                    "parameters": {"version": output.version, "fallback": output.fallback},
                }
                for output in answer.outputs
            ],
        },
        option=orjson.OPT_SERIALIZE_NUMPY,
    )
