"""Counts requests by what was asked for: the route's pattern, never the path that somebody wrote."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controller.metrics import Metrics

__all__ = ["Counting"]

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
LONG = ("/watch", "/events")
"""How patterns end whose answers wait for something to happen."""


class Counting:
    """An answer that never came is counted as 499: who asked has left."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, began = 499, time.monotonic()

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, seen)
        finally:
            route, method = _route(scope), scope["method"] if scope["method"] in METHODS else "other"
            self.metrics.requests.labels(method, route, str(status)).inc()
            if not route.endswith(LONG):
                self.metrics.durations.labels(route).observe(time.monotonic() - began)


def _route(scope: Scope) -> str:
    """The pattern that was matched; of the console only that it was it."""
    if scope["path"].startswith("/console"):
        return "/console"
    return str(getattr(scope.get("route"), "path", "none"))
