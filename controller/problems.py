"""Any error as RFC 9457 problem details."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError, IntegrityError, InternalError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from serinus.errors import BadInput, InvalidSla, NotFound, Overloaded, SerinusError, Stale, Unavailable, WrongMethod

__all__ = ["catch_all", "problem_of"]

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"


def catch_all(app: FastAPI) -> None:
    """Every error of a handler becomes an answer."""
    for kind in (SerinusError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _answer)


def problem_of(error: Exception) -> Response:
    """The answer that an error is."""
    known = _known(error)
    headers = dict(getattr(error, "headers", None) or {})
    if known.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if known.retry_after_s:
        headers["Retry-After"] = f"{known.retry_after_s:.0f}"
    status = error.status_code if isinstance(error, HTTPException) else known.status
    return JSONResponse({**known.problem(), "status": status}, status, headers=headers, media_type=MEDIA_TYPE)


async def _answer(_request: Request, error: Exception) -> Response:
    return problem_of(error)


def _known(error: Exception) -> SerinusError:
    if isinstance(error, SerinusError):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        kind = {404: NotFound, 405: WrongMethod}.get(error.status_code, BadInput)
        return kind(f"{error.detail}", "see /openapi.json for what there is")
    return _of_the_database(error)


def _of_the_database(error: Exception) -> SerinusError:
    if isinstance(error, IntegrityError):
        return Stale("somebody else wrote the same at the same time")
    if isinstance(error, DataError | OverflowError):
        return BadInput("a text or a number of the request is none that can be stored")
    log.error("a request failed", exc_info=error)
    if isinstance(error, PoolTimeout):
        return Overloaded("too many requests wait for the database")
    if isinstance(error, OperationalError | ProgrammingError | InternalError):
        return Unavailable("the database does not answer, or not as it should", "GET /readyz says in which state it is")
    return SerinusError("the controller failed at this request")


def _invalid(error: RequestValidationError) -> SerinusError:
    """The first field that is wrong: of the SLA, or of the request around it."""
    first = error.errors()[0]
    where = [str(step) for step in first["loc"]]
    what = str(first["msg"]).removeprefix("Value error, ")
    if where[:2] == ["body", "sla"]:
        return InvalidSla(f"{'.'.join(where[2:]) or 'sla'}: {what}")
    return BadInput(f"{'.'.join(where)}: {what}")
