"""One server behind an address: requests, and its problems as the errors of `serinus.errors`."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from serinus.errors import NotFound, SerinusError, Unavailable, from_problem
from serinus.home import Home, Stack

__all__ = ["RETRIES_S", "Connection", "local_stack", "read_token"]

RETRIES_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 3.2)
"""Waits between the attempts of a request that is safe to repeat; HAProxy needs up to 4 s when it was killed."""

_PASSING = frozenset({502, 503, 504})


class Connection:
    """Requests to one server. `what`: its name in messages. `token`: sent as bearer. Thread-safe, as httpx is."""

    def __init__(self, url: str, what: str, token: str | None = None, timeout_s: float = 30.0) -> None:
        self.url, self.what = url.rstrip("/"), what
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=httpx.Timeout(timeout_s, connect=5.0))

    def close(self) -> None:
        self._http.close()

    def call(self, method: str, path: str, body: Any = None, waits_s: Sequence[float] = (), **options: Any) -> Any:
        """The JSON of the answer. With `waits_s` a passing failure is tried again after each of them.

        Raises the error that the server's problem details stand for, Unavailable when it cannot be reached."""
        if body is not None:
            options["content"] = json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
            options["headers"] = {"content-type": "application/json", **options.get("headers", {})}
        for wait_s in (*waits_s, None):
            try:
                return self._once(method, path, options)
            except (SerinusError, httpx.TransportError) as error:
                if wait_s is None or not _passing(error):
                    raise self._said(error) from error
                time.sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")

    def _once(self, method: str, path: str, options: dict[str, Any]) -> Any:
        answer = self._http.request(method, path, **options)
        if answer.is_success:
            return answer.json() if answer.content else None
        raise _error_of(answer, self.what)

    def _said(self, error: SerinusError | httpx.TransportError) -> SerinusError:
        if isinstance(error, SerinusError):
            return error
        if isinstance(error, httpx.ConnectError):
            why = f"nothing answers at {self.url} ({self.what})"
            return Unavailable(why, "`serinus status` says what runs, `serinus up` starts a local stack")
        return Unavailable(f"{self.what} at {self.url} broke off: {error or type(error).__name__}")


class _NoProblem(SerinusError):
    """An answer without problem details: not from our server, but from what stands before it."""


def _error_of(answer: httpx.Response, what: str) -> SerinusError:
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    if isinstance(problem, dict) and "title" in problem:
        return from_problem(problem)
    passing = answer.status_code in {*_PASSING, 404}
    kind: type[SerinusError] = _NoProblem if passing else SerinusError
    return kind(f"{what} answered {answer.status_code}: {answer.text[:200]!r}", "is the address that of Serinus?")


def _passing(error: Exception) -> bool:
    """Whether the same request may succeed soon. HAProxy answers 404 and 503 for a while when it comes back."""
    if isinstance(error, NotFound):
        return False
    return isinstance(error, httpx.TransportError | _NoProblem) or getattr(error, "status", 0) in _PASSING


def local_stack(home: Home) -> Stack:
    """Where the local stack of this home answers. Raises Unavailable when it is not up."""
    stack = home.stack()
    if stack is None:
        why = f"no local stack is up in {home.path}"
        raise Unavailable(why, "`serinus up` starts one; or set SERINUS_API and SERINUS_SERVING to where Serinus runs")
    return stack


def read_token(path: str | Path) -> str:
    """The token in a file. Raises Unavailable that names the file when it cannot be read."""
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise Unavailable(f"the token file {path} cannot be read: {error.strerror}") from error
