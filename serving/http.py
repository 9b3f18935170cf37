"""The ASGI face of a front door: paths, bodies, answers, errors. What is asked is done by `Door`."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import orjson

from serinus.errors import NotFound, SerinusError, WrongMethod
from serving import shortcut
from serving.binary import divided
from serving.bodies import Bodies, Receive
from serving.compression import packed, unpacked
from serving.frontdoor import Door
from serving.label_calls import body_of
from serving.openapi import DESCRIPTION
from serving.protocol import parse, render
from serving.ranking import rank
from serving.timeline import Fact
from serving.versions import pin

log = logging.getLogger(__name__)
Scope = dict[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = Mapping[bytes, bytes]
MODEL_PATH = re.compile(r"^/v2/models/([^/]{1,63})(?:/versions/([^/]{1,20}))?(?:/(ready|infer|rank))?$")
PATHS = "the paths are those of the Open Inference Protocol v2, /v1/labels and /openapi.json"
JSON, PROBLEM, BINARY = b"application/json", b"application/problem+json", b"application/octet-stream"


class Reply(NamedTuple):
    """`more`: headers beside those that every answer has."""

    status: int
    body: bytes
    kind: bytes = JSON
    more: tuple[tuple[bytes, bytes], ...] = ()


class App:
    """One front door as an ASGI application."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._bodies = Bodies()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrived_ns = time.perf_counter_ns()
        if scope["type"] != "http":
            await (self._live(receive, send) if scope["type"] == "lifespan" else send({"type": "websocket.close"}))
            return
        try:
            reply = await self._answer(scope, receive, arrived_ns)
        except SerinusError as error:
            reply = problem(error)
            self._count(scope["path"], reply.status)
        except Exception as error:
            log.exception("%s %s failed", scope["method"], scope["path"])
            failure = f"{type(error).__name__} while answering"
            reply = problem(SerinusError(failure, "the log of the serving pool has the rest"))
            self._count(scope["path"], reply.status)
        status, body, kind, more = reply
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *more]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _count(self, path: str, status: int) -> None:
        found = MODEL_PATH.match(path)
        if found and found[3] in ("infer", "rank"):
            self._door.refused(found[1], status)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self._door.start()
                shortcut.open_to(self)
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                shortcut.close()
                await self._door.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _answer(self, scope: Scope, receive: Receive, arrived_ns: int) -> Reply:
        path, method = scope["path"], scope["method"]
        if found := MODEL_PATH.match(path):
            model, version, what = found.groups()
            if what == "infer" or (what == "rank" and version is None):
                _expect(method, "POST", path)
                ask = self._infer if what == "infer" else self._rank
                headers = dict(scope["headers"])
                facts: dict[str, Fact] = {"http.request.method": "POST", "url.path": path, "serinus.model": model}
                name = f"POST /v2/models/{{model}}/{what}"
                with self._door.tracing.of(name, headers.get(b"traceparent", b""), arrived_ns, facts):
                    return await ask(model, version, headers, receive, arrived_ns)
            if what != "rank":
                _expect(method, "GET", path)
                if what == "ready":
                    return self._ready(model, version or "")
                return Reply(200, orjson.dumps(self._door.describe(model, version or "")))
        if path == "/v1/labels":
            _expect(method, "POST", path)
            headers, query = dict(scope["headers"]), scope["query_string"]
            kind, authorization = headers.get(b"content-type", b""), headers.get(b"authorization", b"")
            return Reply(200, await self._door.labels(kind, query, body_of(receive), authorization))
        return self._about(path, method)

    async def _infer(
        self, model: str, version: str | None, headers: Headers, receive: Receive, arrived_ns: int
    ) -> Reply:
        body = await self._body(model, headers, receive, arrived_ns)
        applied = self._door.applied(model)
        said, tail = divided(body, headers.get(b"inference-header-content-length", b""))
        ask, binary = parse(said, applied.specs, applied.tasks, tail)
        if version is not None:
            pin(applied, ask, version)
        authorization = headers.get(b"authorization", b"")
        answer, length = render(await self._door.infer(applied, ask, authorization, None, arrived_ns), binary)
        self._door.load.done()
        return _packed(answer, headers, length)

    async def _rank(
        self, model: str, _version: str | None, headers: Headers, receive: Receive, arrived_ns: int
    ) -> Reply:
        body = await self._body(model, headers, receive, arrived_ns)
        said, tail = divided(body, headers.get(b"inference-header-content-length", b""))
        authorization = headers.get(b"authorization", b"")
        answer, length = await rank(self._door, model, said, authorization, arrived_ns, tail=tail)
        self._door.load.done()
        return _packed(answer, headers, length)

    async def _body(self, model: str, headers: Headers, receive: Receive, arrived_ns: int) -> bytes:
        """The body of a request to a model, when its turn has come. Raises SerinusError."""
        policy = self._door.applied(model).table.serving
        body = await self._bodies.read(headers, receive)
        self._bodies.held += len(body)
        try:
            await self._door.load.turn(arrived_ns, policy)
        finally:
            self._bodies.held -= len(body)
        coding = headers.get(b"content-encoding")
        return unpacked(body, coding) if coding else body

    def _ready(self, model: str, version: str) -> Reply:
        """Raises NotFound when it is known that there is no such model or version."""
        ready = self._door.model_ready(model, version)
        if not ready and self._door.follower.synced:
            self._door.describe(model, version)
        return _yes_or_no(ready, {"name": model})

    def _about(self, path: str, method: str) -> Reply:
        match path:
            case "/v2/health/live":
                reply = Reply(200, b'{"live":true}')
            case "/v2/health/ready":
                reply = _yes_or_no(self._door.ready, {})
            case "/v2" | "/v2/":
                reply = Reply(200, orjson.dumps(self._door.server()))
            case "/v1/serving/status":
                reply = Reply(200, orjson.dumps(self._door.status()))
            case "/openapi.json":
                reply = Reply(200, DESCRIPTION)
            case _:
                raise NotFound(f"there is no {path[:256]}", PATHS)
        _expect(method, "GET", path)
        return reply


def problem(error: SerinusError) -> Reply:
    """An error as RFC 9457 problem details, with `error` beside them, where clients of OIP v2 look for the words."""
    more: tuple[tuple[bytes, bytes], ...] = ()
    if error.status == 503:
        more = ((b"retry-after", b"1"),)
    elif isinstance(error, WrongMethod):
        more = ((b"allow", error.allow.encode()),)
    return Reply(error.status, orjson.dumps({**error.problem(), "error": error.detail}), PROBLEM, more)


def _packed(body: bytes, headers: Headers, length: int = 0) -> Reply:
    """`length`: of the JSON when bytes of tensors follow, else 0."""
    more = ((b"inference-header-content-length", b"%d" % length),) if length else ()
    body, coding = packed(body, headers.get(b"accept-encoding", b""))
    if coding:
        more = (*more, (b"content-encoding", coding), (b"vary", b"accept-encoding"))
    return Reply(200, body, BINARY if length else JSON, more)


def _yes_or_no(ready: bool, more: dict[str, Any]) -> Reply:
    return Reply(200 if ready else 503, orjson.dumps({**more, "ready": ready}))


def _expect(method: str, expected: str, path: str) -> None:
    allowed = "GET, HEAD" if expected == "GET" else expected
    if method not in allowed.split(", "):
        error = WrongMethod(f"{path} takes {allowed}, not {method[:32]}")
        error.allow = allowed
        raise error
