"""Server-sent events: what the audit log gains, told as it happens."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable

import anyio
from anyio import to_thread
from sqlalchemy import ColumnElement, func, select
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from controller.bell import Bell
from controller.database import Database
from controller.tables import AuditRow
from serinus.errors import Overloaded

__all__ = ["Changes", "EventStream", "Streams"]

HEARTBEAT_S = 15.0
"""After so long without an event a comment is sent, for proxies and readers that think a silent connection is dead."""
LOOK_S = 2.0
"""How often one looks without having been woken: another controller may have written."""
SLOW_S = 10.0
"""A reader that takes nothing for so long is dropped; it may come again with its Last-Event-ID."""
PAGE = 100
MOST = 200


class Streams:
    """How many streams there are; each costs a look at the database every other second."""

    def __init__(self, most: int = MOST) -> None:
        self.most, self.open = most, 0

    def enter(self) -> None:
        """Raises Overloaded."""
        if self.open >= self.most:
            error = Overloaded(f"{self.most} streams of events are open already")
            error.retry_after_s = 10.0
            raise error
        self.open += 1


class Changes:
    """Entries of the audit log after the number `after` that meet the condition, as they come."""

    def __init__(self, db: Database, bell: Bell, wanted: ColumnElement[bool], after: int | None) -> None:
        self._db, self._bell, self._wanted, self._after = db, bell, wanted, after

    async def texts(self, still: Callable[[], bool]) -> AsyncIterator[str]:
        """Events and heartbeats in the form in which they are sent, until the bell is closed.

        `still`: asked now and then, in a thread: whether the reader may read on."""
        if self._after is None:
            self._after = await to_thread.run_sync(self._head)
        yield f"retry: 2000\nid: {self._after}\n\n"
        silent_since = asked_at = anyio.current_time()
        while not self._bell.closed:
            rung = self._bell.rung
            for number, text in await to_thread.run_sync(self._new):
                yield text
                self._after, silent_since = number, anyio.current_time()
                rung = -1  # there may be more
            now = anyio.current_time()
            if now - asked_at >= HEARTBEAT_S:
                if not await to_thread.run_sync(still):
                    return
                asked_at = now
            if now - silent_since >= HEARTBEAT_S:
                yield ": so far nothing\n\n"
                silent_since = now
            if rung >= 0:
                await self._bell.wait(rung, LOOK_S)

    def _head(self) -> int:
        with self._db.read() as session:
            return session.scalar(select(func.max(AuditRow.number))) or 0

    def _new(self) -> list[tuple[int, str]]:
        query = select(AuditRow).where(AuditRow.number > (self._after or 0), self._wanted)
        with self._db.read() as session:
            rows = session.scalars(query.order_by(AuditRow.number).limit(PAGE))
            return [(row.number, _event(row)) for row in rows]


class EventStream(Response):
    """Sends the texts as they come; ends when they do, when the reader is gone, or when it does not read."""

    media_type = "text/event-stream"

    def __init__(self, texts: AsyncIterator[str], streams: Streams) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self.texts, self.streams = texts, streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 Starlette's
        self.streams.enter()
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_left, receive, group.cancel_scope)
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                async for text in self.texts:
                    with anyio.fail_after(SLOW_S):
                        await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                group.cancel_scope.cancel()
        finally:
            self.streams.open -= 1


async def _left(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _event(row: AuditRow) -> str:
    told = {name: getattr(row, name) for name in ("number", "at", "actor", "action", "subject", "detail")}
    return f"id: {row.number}\nevent: {row.action}\ndata: {json.dumps(told)}\n\n"
