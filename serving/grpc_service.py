"""The gRPC face of a front door: what the HTTP face does for paths, bodies, answers and errors."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import msgspec
from google.protobuf.message import DecodeError

from serinus.errors import BadInput, Overloaded, SerinusError
from serving import grpc_messages as messages
from serving.ask import Caller, check
from serving.frontdoor import Door
from serving.grpc_tensors import fill_answer, given_of
from serving.protocol import Parameters
from serving.timeline import Fact
from serving.versions import pin

log = logging.getLogger(__name__)
CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
MAX_DETAIL = 1_000
"""Characters: details travel in HTTP/2 trailers, which are bounded."""
ATTRIBUTE = "attributes."
SAID = ("entity", "event_time_ms", "join_key", "timeout")
ELSEWISE = ("classification", "shared_memory_region")
"""Parameters of outputs that ask for something else than the probabilities in the answer."""


def add_to_server(servicer: Any, server: Any) -> None:
    """Register the service, as generated code would; Ray Serve puts its own handlers in the place of these.

    Without deserializers: a request that is no message is answered by us, with what is wrong."""
    handlers = {name: grpc.unary_unary_rpc_method_handler(getattr(servicer, name)) for name in messages.METHODS}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(messages.SERVICE, handlers),))


class GrpcFace:
    """The methods of the service. `request`: bytes of the message; `context`: Ray Serve's, takes code and details."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def call(self, method: str, request: bytes, context: Any) -> Any:
        """The answer of a method as a message. An error becomes a status code, and an empty message."""
        answer: Callable[[bytes, Any], Awaitable[Any]] = getattr(self, f"_{method}")
        try:
            return await answer(request, context)
        except SerinusError as error:
            kind = grpc.StatusCode.RESOURCE_EXHAUSTED if isinstance(error, Overloaded) else CODES.get(error.status)
            context.set_code(kind or grpc.StatusCode.INTERNAL)
            context.set_details(f"{error.detail}; {error.advice}"[:MAX_DETAIL])
        except Exception as error:
            log.exception("%s failed", method)
            context.set_code(grpc.StatusCode.INTERNAL)
            context.set_details(f"{type(error).__name__} while answering; the log of the serving pool has the rest")
        return messages.ModelInferResponse()

    async def _ServerLive(self, _request: bytes, _context: Any) -> Any:  # noqa: N802 (the protocol's name)
        return messages.ServerLiveResponse(live=True)

    async def _ServerReady(self, _request: bytes, _context: Any) -> Any:  # noqa: N802
        return messages.ServerReadyResponse(ready=self._door.ready)

    async def _ModelReady(self, request: bytes, _context: Any) -> Any:  # noqa: N802
        asked = _decoded(messages.ModelReadyRequest, request)
        return messages.ModelReadyResponse(ready=self._door.model_ready(asked.name, asked.version))

    async def _ServerMetadata(self, _request: bytes, _context: Any) -> Any:  # noqa: N802
        return messages.ServerMetadataResponse(**self._door.server())

    async def _ModelMetadata(self, request: bytes, _context: Any) -> Any:  # noqa: N802
        asked = _decoded(messages.ModelMetadataRequest, request)
        return messages.ModelMetadataResponse(**self._door.describe(asked.name, asked.version))

    async def _ModelInfer(self, request: bytes, context: Any) -> Any:  # noqa: N802
        arrived_ns = time.perf_counter_ns()
        asked = _decoded(messages.ModelInferRequest, request)
        facts: dict[str, Fact] = {"rpc.system": "grpc", "rpc.method": "ModelInfer", "serinus.model": asked.model_name}
        name, traceparent = f"{messages.SERVICE}/ModelInfer", _metadata(context, "traceparent")
        try:
            with self._door.tracing.of(name, traceparent, arrived_ns, facts):
                return await self._inferred(asked, context, arrived_ns)
        except Exception as error:
            self._door.refused(asked.model_name, error.status if isinstance(error, SerinusError) else 500)
            raise

    async def _inferred(self, asked: Any, context: Any, arrived_ns: int) -> Any:
        await self._door.load.turn(arrived_ns, self._door.applied(asked.model_name).table.serving)
        applied = self._door.applied(asked.model_name)
        given = given_of(asked, applied.specs)
        ask = check(given, _caller_of(asked), _outputs_of(asked), applied.specs, applied.tasks)
        if asked.model_version:
            pin(applied, ask, asked.model_version)
        answer = await self._door.infer(applied, ask, _metadata(context, "authorization"), None, arrived_ns)
        self._door.load.done()
        return fill_answer(messages.ModelInferResponse(), answer, raw=bool(asked.raw_input_contents))


def _decoded(kind: Any, request: bytes) -> Any:
    try:
        return kind.FromString(request)
    except DecodeError as error:
        raise BadInput(f"the message is no {kind.DESCRIPTOR.name} of the Open Inference Protocol v2") from error


def _outputs_of(request: Any) -> list[str]:
    """The names of the outputs that are asked. Raises BadInput where one is wanted as something else."""
    for output in request.outputs:
        for other in ELSEWISE:
            if other in output.parameters:
                raise BadInput(f"output {output.name[:256]!r} has the parameter {other}, which is not offered here")
    return [output.name for output in request.outputs]


def _caller_of(request: Any) -> Caller:
    """What the request says of itself; attributes are parameters named `attributes.NAME`. Raises BadInput."""
    if len(request.id) > 256:
        raise BadInput(f"id has {len(request.id)} characters, expected at most 256")
    said: dict[str, Any] = {}
    attributes: dict[str, Any] = {}
    for name, parameter in request.parameters.items():
        kind = parameter.WhichOneof("parameter_choice")
        value = getattr(parameter, kind) if kind else None
        if name.startswith(ATTRIBUTE):
            attributes[name.removeprefix(ATTRIBUTE)] = value
        elif name in SAID:
            said[name] = value
    try:
        known = msgspec.convert({**said, "attributes": attributes}, Parameters)
    except msgspec.ValidationError as error:
        raise BadInput(f"parameters: {error}") from error
    return Caller(
        id=request.id,
        entity=known.entity or "",
        event_time_ms=known.event_time_ms,
        join_key=known.join_key or "",
        attributes=known.attributes,
        timeout_us=known.timeout,
    )


def _metadata(context: Any, name: str) -> bytes:
    for key, value in context.invocation_metadata():
        if key == name:
            return value.encode() if isinstance(value, str) else bytes(value)
    return b""
