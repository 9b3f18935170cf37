"""What an answer means: its error, whether the same request may succeed soon, and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel

from serinus.errors import NotFound, RateLimited, SerinusError, Stale, Unavailable, from_problem

__all__ = ["LONGEST_WAIT_S", "RETRIES_S", "error_of", "known", "passing", "said", "wait_of"]

RETRIES_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 3.2)
"""Waits between the attempts of a request that is safe to repeat; HAProxy needs up to 4 s when it was killed."""
LONGEST_WAIT_S = 30.0
"""A server that asks for a longer pause (Retry-After) gets no second attempt."""

_PASSING = frozenset({502, 503, 504})
Shown = TypeVar("Shown", bound=BaseModel)


class _NoProblem(SerinusError):
    """An answer without problem details: not from our server, but from what stands before it."""


def error_of(answer: httpx.Response, what: str) -> SerinusError:
    """The error that an answer stands for. `what`: the server's name in messages. The body must have been read."""
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    if isinstance(problem, dict) and "title" in problem:
        error = from_problem(problem)
    else:
        kind: type[SerinusError] = _NoProblem if answer.status_code in {*_PASSING, 404} else SerinusError
        kind = RateLimited if answer.status_code == RateLimited.status else kind
        text = f"{what} answered {answer.status_code}: {answer.text[:200]!r}"
        error = kind(text, "is the address that of Serinus?")
    error.retry_after_s = _seconds(answer.headers.get("retry-after"))
    return error


def said(error: SerinusError | httpx.TransportError, url: str, what: str) -> SerinusError:
    """A broken connection in words; any other error as it is."""
    if isinstance(error, SerinusError):
        return error
    if isinstance(error, httpx.ConnectError):
        why = f"nothing answers at {url} ({what})"
        return Unavailable(why, "`serinus status` says what runs, `serinus up` starts a local stack")
    return Unavailable(f"{what} at {url} broke off: {error or type(error).__name__}")


def passing(error: Exception) -> bool:
    """Whether the same request may succeed soon. HAProxy answers 404 and 503 for a while when it comes back."""
    if isinstance(error, NotFound):
        return False
    if isinstance(error, Stale) and error.retry_after_s:  # the same write is still being carried out
        return True
    return isinstance(error, httpx.TransportError | _NoProblem | RateLimited) or getattr(error, "status", 0) in _PASSING


def wait_of(error: Exception, wait_s: float) -> float | None:
    """How long to wait before the next attempt: at least `wait_s`; None: longer than anybody wants to wait."""
    asked: float = getattr(error, "retry_after_s", 0.0)
    return None if asked > LONGEST_WAIT_S else max(wait_s, asked)


def known(kind: type[Shown], answer: Mapping[str, Any]) -> Shown:
    """An answer as a shared word, without fields that this client does not know: a newer server may say more."""
    return kind.model_validate({name: value for name, value in answer.items() if name in kind.model_fields})


def _seconds(header: str | None) -> float:
    try:
        return max(0.0, float(header or 0))
    except ValueError:
        return 0.0
