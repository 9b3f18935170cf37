"""Each request has an id: in its answer, and in every line of the log that is written for it."""

from __future__ import annotations

import logging
import re
import uuid
from contextvars import ContextVar

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controller.problems import problem_of

__all__ = ["RequestIdFilter", "RequestIds"]

HEADER = "X-Request-Id"
GIVEN = re.compile(r"[A-Za-z0-9._-]{1,64}")
_current: ContextVar[str] = ContextVar("request_id", default="-")


class RequestIds:
    """Takes the caller's id when it is a plain word, else makes one; answers what no handler has caught."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if GIVEN.fullmatch(given) else uuid.uuid4().hex
        begun = False

        async def tell(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        before = _current.set(request_id)
        try:
            await self.app(scope, receive, tell)
        except Exception as error:
            if begun:
                raise
            await problem_of(error)(scope, receive, tell)
        finally:
            _current.reset(before)


class RequestIdFilter(logging.Filter):
    """Gives each record `request`: the id of the request that it was written for, or -."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request = _current.get()
        return True
