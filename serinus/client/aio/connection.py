"""One server behind an address: requests, and its problems as the errors of `serinus.errors`."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any

import httpx
from httpx_sse import ServerSentEvent, SSEError, aconnect_sse

from serinus.client.answers import RETRIES_S, error_of, passing, said, wait_of
from serinus.client.pauses import asleep
from serinus.errors import SerinusError, Unavailable, Unsupported

__all__ = ["Connection"]

READS_S = RETRIES_S[:4]
WRITES_S = RETRIES_S[:5]
SILENCE_S = 60.0
"""A stream of events without even a heartbeat for so long is opened anew."""


class Connection:
    """Requests to one server. `what`: its name in messages. `token`: sent as bearer. Safe to share, as httpx is."""

    def __init__(self, url: str, what: str, token: str | None = None, timeout_s: float = 30.0) -> None:
        self.url, self.what = url.rstrip("/"), what
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.AsyncClient(
            base_url=self.url, headers=headers, timeout=httpx.Timeout(timeout_s, connect=5.0)
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    async def read(self, path: str, **query: Any) -> Any:
        """The JSON at a path; a query of None is left out. A passing failure is tried again."""
        asked = {name: value for name, value in query.items() if value is not None}
        return await self.call("GET", path, waits_s=READS_S, params=asked)

    async def read_tagged(self, path: str) -> tuple[Any, str]:
        """(The JSON at a path, its ETag or "")."""
        answer = await self._answer("GET", path, READS_S, None, {})
        return answer.json(), str(answer.headers.get("etag", ""))

    async def page(self, path: str, **query: Any) -> list[Any]:
        """The first items of a list."""
        found = await self.read(path, **query)
        items: list[Any] = found if isinstance(found, list) else found["items"]
        return items

    async def pages(self, path: str, **query: Any) -> AsyncIterator[Any]:
        """Every item of a list that comes in pages {"items", "next"}."""
        while True:
            page = await self.read(path, **query)
            for item in page if isinstance(page, list) else page["items"]:
                yield item
            if isinstance(page, list) or (cursor := page["next"]) is None:
                return
            query["cursor"] = cursor

    async def write(self, method: str, path: str, body: Any = None, *, if_match: str | None = None, **more: Any) -> Any:
        """The JSON of a write's answer. One Idempotency-Key for all its attempts, so that it happens once.

        `if_match`: the ETag that one has read; Changed is raised when it is another one by now."""
        headers = {"idempotency-key": uuid.uuid4().hex, **more.pop("headers", {})}
        if if_match:
            headers["if-match"] = if_match
        return await self.call(method, path, body, waits_s=WRITES_S, headers=headers, **more)

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        waits_s: Sequence[float] = (),
        stream: Callable[[], Iterable[bytes]] | None = None,
        **options: Any,
    ) -> Any:
        """The JSON of the answer. With `waits_s` a passing failure is tried again after each of them.

        `stream`: makes the body's pieces, anew at each attempt. Raises the error that the server's problem details
        stand for, Unavailable when it cannot be reached."""
        if body is not None:
            options["content"] = json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
            options["headers"] = {"content-type": "application/json", **options.get("headers", {})}
        answer = await self._answer(method, path, waits_s, stream, options)
        return answer.json() if answer.content else None

    async def _answer(
        self,
        method: str,
        path: str,
        waits_s: Sequence[float],
        stream: Callable[[], Iterable[bytes]] | None,
        options: dict[str, Any],
    ) -> httpx.Response:
        for wait_s in (*waits_s, None):
            try:
                if stream is not None:
                    options["content"] = _flow(stream())
                answer = await self._http.request(method, path, **options)
                if not answer.is_success:
                    raise error_of(answer, self.what)
                return answer
            except (SerinusError, httpx.TransportError) as error:
                pause_s = None if wait_s is None or not passing(error) else wait_of(error, wait_s)
                if pause_s is None:
                    raise said(error, self.url, self.what) from error
                await asleep(pause_s)
        raise AssertionError("the last attempt returns or raises")

    async def download(self, path: str) -> AsyncIterator[bytes]:
        """The bytes of an answer, as they come. Raises as `call`; it is not tried again."""
        try:
            async with self._http.stream("GET", path, timeout=600.0) as answer:
                if not answer.is_success:
                    await answer.aread()
                    raise error_of(answer, self.what)
                async for piece in answer.aiter_bytes(1 << 18):
                    yield piece
        except httpx.TransportError as error:
            raise said(error, self.url, self.what) from error

    async def events(self, path: str, last_id: str = "", **query: Any) -> AsyncIterator[ServerSentEvent]:
        """Events as they come, without end; a stream that breaks off is opened anew after the last event seen.

        Raises Unsupported when the server sends no events there, Unavailable when it cannot be reached again."""
        asked = {name: value for name, value in query.items() if value is not None}
        failures = 0
        while True:
            try:
                async with aclosing(self._stream(path, last_id, asked)) as stream:
                    async for event in stream:
                        failures, last_id = 0, event.id or last_id
                        if event.data:  # not a heartbeat
                            yield event
                raise Unavailable(f"{self.what} ended the stream of events")
            except (SerinusError, httpx.TransportError) as error:
                if not passing(error) or failures >= len(RETRIES_S):
                    raise said(error, self.url, self.what) from error
                await asleep(wait_of(error, RETRIES_S[failures]) or RETRIES_S[failures])
                failures += 1

    async def _stream(self, path: str, last_id: str, query: dict[str, Any]) -> AsyncGenerator[ServerSentEvent, None]:
        headers = {"last-event-id": last_id} if last_id else {}
        timeout = httpx.Timeout(SILENCE_S, connect=5.0)
        async with aconnect_sse(self._http, "GET", path, params=query, headers=headers, timeout=timeout) as source:
            if not source.response.is_success:
                await source.response.aread()
                raise error_of(source.response, self.what)
            try:
                async for event in source.aiter_sse():
                    yield event
            except SSEError as error:
                raise Unsupported(f"{path} of {self.what} sends no events") from error


async def _flow(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
