"""Request bodies are bounded before anybody parses them."""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controller.problems import problem_of
from serinus.errors import TooLarge, Unsupported

__all__ = ["BoundedBodies", "replaying", "streams"]

MAX_BYTES = 1 << 20
MAX_EXCHANGE_BYTES = 64 << 20
STREAMS = re.compile(r"POST /v1/models/[^/]+/(versions|bundles)|PATCH /v1/uploads/[^/]+")


class BoundedBodies:
    """Reads the body of every request up to its limit; an upload of a package is bounded where it is streamed."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD") or streams(scope):
            await self.app(scope, receive, send)
            return
        limit = MAX_EXCHANGE_BYTES if scope["path"] == "/v1/monitor/exchange" else MAX_BYTES
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > limit:
                answer = problem_of(TooLarge(f"the body is larger than {limit} bytes"))
                answer.headers["connection"] = "close"  # the rest of the body is not worth reading
                await answer(scope, receive, send)
                return
        if body and scope["path"].startswith("/v1/") and not _json(scope):
            await problem_of(Unsupported("the body must be application/json"))(scope, receive, send)
            return
        await self.app(scope, replaying(bytes(body), receive), send)


def _json(scope: Scope) -> bool:
    """A caller that does not say what it sends, sends JSON."""
    kind = Headers(scope=scope).get("content-type", "application/json").partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def streams(scope: Scope) -> bool:
    """Uploads: bounded where they are written to disk."""
    return bool(STREAMS.fullmatch(f"{scope['method']} {scope['path']}"))


def replaying(body: bytes, receive: Receive) -> Receive:
    """First the body that was read, then whatever comes (a disconnect)."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
