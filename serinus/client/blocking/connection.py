# Made by `python serinus/client/twin.py` from serinus/client/aio: edit there.
"""One server behind an address: requests, and its problems as the errors of `serinus.errors`."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any

import httpx
from httpx_sse import ServerSentEvent, SSEError, connect_sse

from serinus.client.answers import RETRIES_S, error_of, passing, said, wait_of
from serinus.client.pauses import sleep
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
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=httpx.Timeout(timeout_s, connect=5.0))

    def close(self) -> None:
        self._http.close()

    def read(self, path: str, **query: Any) -> Any:
        """The JSON at a path; a query of None is left out. A passing failure is tried again."""
        asked = {name: value for name, value in query.items() if value is not None}
        return self.call("GET", path, waits_s=READS_S, params=asked)

    def read_tagged(self, path: str) -> tuple[Any, str]:
        """(The JSON at a path, its ETag or "")."""
        answer = self._answer("GET", path, READS_S, None, {})
        return answer.json(), str(answer.headers.get("etag", ""))

    def page(self, path: str, **query: Any) -> list[Any]:
        """The first items of a list."""
        found = self.read(path, **query)
        items: list[Any] = found if isinstance(found, list) else found["items"]
        return items

    def pages(self, path: str, **query: Any) -> Iterator[Any]:
        """Every item of a list that comes in pages {"items", "next"}."""
        while True:
            page = self.read(path, **query)
            yield from page if isinstance(page, list) else page["items"]
            if isinstance(page, list) or (cursor := page["next"]) is None:
                return
            query["cursor"] = cursor

    def write(self, method: str, path: str, body: Any = None, *, if_match: str | None = None, **more: Any) -> Any:
        """The JSON of a write's answer. One Idempotency-Key for all its attempts, so that it happens once.

        `if_match`: the ETag that one has read; Changed is raised when it is another one by now."""
        headers = {"idempotency-key": uuid.uuid4().hex, **more.pop("headers", {})}
        if if_match:
            headers["if-match"] = if_match
        return self.call(method, path, body, waits_s=WRITES_S, headers=headers, **more)

    def call(
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
        answer = self._answer(method, path, waits_s, stream, options)
        return answer.json() if answer.content else None

    def _answer(
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
                answer = self._http.request(method, path, **options)
                if not answer.is_success:
                    raise error_of(answer, self.what)
                return answer
            except (SerinusError, httpx.TransportError) as error:
                pause_s = None if wait_s is None or not passing(error) else wait_of(error, wait_s)
                if pause_s is None:
                    raise said(error, self.url, self.what) from error
                sleep(pause_s)
        raise AssertionError("the last attempt returns or raises")

    def download(self, path: str) -> Iterator[bytes]:
        """The bytes of an answer, as they come. Raises as `call`; it is not tried again."""
        try:
            with self._http.stream("GET", path, timeout=600.0) as answer:
                if not answer.is_success:
                    answer.read()
                    raise error_of(answer, self.what)
                yield from answer.iter_bytes(1 << 18)
        except httpx.TransportError as error:
            raise said(error, self.url, self.what) from error

    def events(self, path: str, last_id: str = "", **query: Any) -> Iterator[ServerSentEvent]:
        """Events as they come, without end; a stream that breaks off is opened anew after the last event seen.

        Raises Unsupported when the server sends no events there, Unavailable when it cannot be reached again."""
        asked = {name: value for name, value in query.items() if value is not None}
        failures = 0
        while True:
            try:
                with closing(self._stream(path, last_id, asked)) as stream:
                    for event in stream:
                        failures, last_id = 0, event.id or last_id
                        if event.data:  # not a heartbeat
                            yield event
                raise Unavailable(f"{self.what} ended the stream of events")
            except (SerinusError, httpx.TransportError) as error:
                if not passing(error) or failures >= len(RETRIES_S):
                    raise said(error, self.url, self.what) from error
                sleep(wait_of(error, RETRIES_S[failures]) or RETRIES_S[failures])
                failures += 1

    def _stream(self, path: str, last_id: str, query: dict[str, Any]) -> Generator[ServerSentEvent, None]:
        headers = {"last-event-id": last_id} if last_id else {}
        timeout = httpx.Timeout(SILENCE_S, connect=5.0)
        with connect_sse(self._http, "GET", path, params=query, headers=headers, timeout=timeout) as source:
            if not source.response.is_success:
                source.response.read()
                raise error_of(source.response, self.what)
            try:
                yield from source.iter_sse()
            except SSEError as error:
                raise Unsupported(f"{path} of {self.what} sends no events") from error


def _flow(pieces: Iterable[bytes]) -> Iterator[bytes]:
    yield from pieces
