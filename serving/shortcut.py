"""Requests are answered in front of Ray Serve's own code.

What Serve does for each request of a replica (tasks, metadata, metrics) costs more than parsing, model and answer
together. Serve lets one wrap the ASGI application of a replica's listener; this wrapper answers what a front door can
answer, in the same process and on the same event loop, and leaves the rest (health checks, routes) to Serve. Draining
stays right: the listener itself waits for its requests. Scaling does not count requests (`serving.autoscaling`)."""

from __future__ import annotations

from typing import Any

from serving.grpc_fence import keep_grpc_near

_open: list[Any] = []
"""The front door's application, from the end of its start to the begin of its stop. At most one a process."""


def open_to(app: Any) -> None:
    """From now on requests of this process go to `app` (ASGI)."""
    _open[:] = [app]


def close() -> None:
    """From now on requests of this process go through Ray Serve."""
    _open.clear()


class Shortcut:
    """ASGI middleware. `app`: Ray Serve's own."""

    def __init__(self, app: Any) -> None:
        self._serve = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if _open and scope["type"] == "http" and not scope["path"].startswith("/-/"):
            await _open[0](scope, receive, send)
        else:
            await self._serve(scope, receive, send)


def middlewares() -> list[Any]:
    """What Ray Serve calls in every process of it that will listen, before it does."""
    from starlette.middleware import Middleware  # noqa: PLC0415 (only processes of Ray come here)

    keep_grpc_near()
    return [Middleware(Shortcut)]
