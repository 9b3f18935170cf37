"""The ASGI face of a front door: paths, bodies, answers, errors. What is asked is done by `Door`."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from serinus.errors import BadInput, NotFound, SerinusError
from serving import shortcut
from serving.ask import MAX_BODY_BYTES
from serving.frontdoor import Door
from serving.label_calls import body_of
from serving.protocol import parse, render
from serving.ranking import rank

log = logging.getLogger(__name__)
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
MODEL_PATH = re.compile(r"^/v2/models/([^/]{1,63})(?:/(ready|infer|rank))?$")
JSON, PROBLEM = b"application/json", b"application/problem+json"


class App:
    """One front door as an ASGI application."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        try:
            status, body = await self._answer(scope, receive)
            kind = JSON
        except SerinusError as error:
            status, body, kind = error.status, orjson.dumps(error.problem()), PROBLEM
        except Exception as error:
            log.exception("%s %s failed", scope["method"], scope["path"])
            failure = SerinusError(
                f"{type(error).__name__} while answering", "the log of the serving pool has the rest"
            )
            status, body, kind = 500, orjson.dumps(failure.problem()), PROBLEM
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        if status == 503:
            headers.append((b"retry-after", b"1"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

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

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, bytes]:
        path, method = scope["path"], scope["method"]
        if found := MODEL_PATH.match(path):
            model, what = found.groups()
            if what == "infer":
                _expect(method, "POST", path)
                return 200, await self._infer(model, await read_body(scope, receive), _authorization(scope))
            if what == "rank":
                _expect(method, "POST", path)
                return 200, await rank(self._door, model, await read_body(scope, receive), _authorization(scope))
            _expect(method, "GET", path)
            if what == "ready":
                return _yes_or_no(self._door.model_ready(model), {"name": model})
            return 200, orjson.dumps(self._door.describe(model))
        if path == "/v1/labels":
            _expect(method, "POST", path)
            kind, query = _header(scope, b"content-type"), scope["query_string"]
            return 200, await self._door.labels(kind, query, body_of(receive), _authorization(scope))
        _expect(method, "GET", path)
        return self._about(path)

    async def _infer(self, model: str, body: bytes, authorization: bytes) -> bytes:
        applied = self._door.applied(model)
        return render(await self._door.infer(applied, parse(body, applied.specs, applied.tasks), authorization))

    def _about(self, path: str) -> tuple[int, bytes]:
        match path:
            case "/v2/health/live":
                return 200, b'{"live":true}'
            case "/v2/health/ready":
                return _yes_or_no(self._door.ready, {})
            case "/v2" | "/v2/":
                return 200, orjson.dumps(self._door.server())
            case "/v1/serving/status":
                return 200, orjson.dumps(self._door.status())
        raise NotFound(f"there is no {path}", "the paths are those of the Open Inference Protocol v2, and /v1/labels")


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """The whole body. Raises BadInput when it is larger than MAX_BODY_BYTES, as soon as that is known."""
    declared = _header(scope, b"content-length")
    if declared.isdigit() and len(declared) < 20 and int(declared) > MAX_BODY_BYTES:
        raise BadInput(f"the body has {int(declared)} bytes, expected at most {MAX_BODY_BYTES}")
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadInput("the client went away before its body was read")
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise BadInput(f"the body has more than {MAX_BODY_BYTES} bytes")
        chunks.append(chunk)
        if not message.get("more_body"):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _header(scope: Scope, name: bytes) -> bytes:
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""


def _authorization(scope: Scope) -> bytes:
    return _header(scope, b"authorization")


def _yes_or_no(ready: bool, more: dict[str, Any]) -> tuple[int, bytes]:
    return (200 if ready else 503), orjson.dumps({**more, "ready": ready})


def _expect(method: str, expected: str, path: str) -> None:
    if method != expected and not (method == "HEAD" and expected == "GET"):
        raise BadInput(f"{path} takes {expected}, not {method}")
