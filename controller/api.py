"""The HTTP API: one application, one handler for all errors."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import IntegrityError, OperationalError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

import serinus
from controller.bodies import BoundedBodies
from controller.routers import (
    aliases,
    bundles,
    garbage,
    health,
    jobs,
    keys,
    models,
    monitors,
    notices,
    pools,
    rollouts,
    slas,
    uploads,
    versions,
    weights,
)
from controller.services import Services
from serinus.errors import BadInput, InvalidSla, NotFound, SerinusError, Stale, Unavailable

__all__ = ["create_app"]

log = logging.getLogger(__name__)


def create_app(services: Services) -> FastAPI:
    """The API over these services; its reconciler runs as long as the application does."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        services.bell.hang()
        services.store.sweep()
        services.presence.start()
        services.listening.start()
        services.reconciler.start()
        services.sender.start()
        yield
        services.listening.stop()
        services.reconciler.stop()
        services.presence.stop()
        services.sender.stop()

    app = FastAPI(title="Serinus controller", version=serinus.__version__, lifespan=lifespan)
    app.state.services = services
    for router in (
        health,
        models,
        slas,
        aliases,
        weights,
        versions,
        uploads,
        bundles,
        keys,
        garbage,
        rollouts,
        pools,
        monitors,
        jobs,
        notices,
    ):
        app.include_router(router.router)
    app.add_middleware(BoundedBodies)
    for kind in (SerinusError, RequestValidationError, HTTPException, IntegrityError, OperationalError, Exception):
        app.add_exception_handler(kind, _answer)
    return app


async def _answer(_request: Request, error: Exception) -> Response:
    """Any error as RFC 9457 problem details."""
    known = _known(error)
    headers = {"WWW-Authenticate": "Bearer"} if known.status == 401 else {}
    status = error.status_code if isinstance(error, HTTPException) else known.status
    body = {**known.problem(), "status": status}
    return JSONResponse(body, status, headers=headers, media_type="application/problem+json")


def _known(error: Exception) -> SerinusError:
    if isinstance(error, SerinusError):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return (NotFound if error.status_code == 404 else BadInput)(f"{error.detail}", "see /docs for what there is")
    if isinstance(error, IntegrityError):
        return Stale("somebody else wrote the same at the same time")
    log.error("a request failed", exc_info=error)
    if isinstance(error, OperationalError):
        return Unavailable("the database does not answer", "check that the database runs; the log has the rest")
    return SerinusError("the controller failed at this request")


def _invalid(error: RequestValidationError) -> SerinusError:
    """The first field that is wrong: of the SLA, or of the request around it."""
    first = error.errors()[0]
    where = [str(step) for step in first["loc"]]
    what = str(first["msg"]).removeprefix("Value error, ")
    if where[:2] == ["body", "sla"]:
        return InvalidSla(f"{'.'.join(where[2:]) or 'sla'}: {what}")
    return BadInput(f"{'.'.join(where)}: {what}")
