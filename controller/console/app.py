"""The console as an application of its own below /console: its errors are pages too."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import IntegrityError, OperationalError
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp

from controller.console import commands, diff, explain, jobs, login, models, overview, records, rollouts, versions
from controller.console.assets import asset
from controller.console.guard import Headers, from_elsewhere
from controller.console.render import page, to_path
from controller.services import Services
from serinus.errors import BadInput, NotFound, SerinusError, Stale, Unauthenticated, Unavailable

__all__ = ["create_console"]

log = logging.getLogger(__name__)
PAGES = (login, overview, models, versions, diff, rollouts, commands, explain, jobs, records)


def create_console(services: Services) -> ASGIApp:
    """Mount it at /console."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.state.services = services
    app.add_route("/assets/{name}", asset)
    for each in PAGES:
        app.include_router(each.router)
    for kind in (SerinusError, RequestValidationError, HTTPException, IntegrityError, OperationalError, Exception):
        app.add_exception_handler(kind, _answer)
    return Headers(app)


async def _answer(request: Request, error: Exception) -> Response:
    """Any error as a page with its story; whoever is not logged in goes there first."""
    known = _known(error)
    if isinstance(known, Unauthenticated) and request.method == "GET" and "/login" not in request.url.path:
        return _to_login(request)
    visit = getattr(request.state, "visit", None)
    status = error.status_code if isinstance(error, HTTPException) else known.status
    return page(request, "error.html", visit, status=status, error=known, code=status)


def _to_login(request: Request) -> Response:
    """A link from elsewhere (a chat, a mail) comes without our cookie: the page asks for itself once more, as its own.

    Then the browser sends the cookie, where there is one."""
    if from_elsewhere(request):
        return page(request, "bounce.html", to=str(request.url.path) + _query(request))
    to = to_path("login", next=request.url.path + _query(request))
    if request.headers.get("hx-request"):
        return Response(status_code=200, headers={"HX-Redirect": to_path("login")})
    return RedirectResponse(to, 303)


def _query(request: Request) -> str:
    return f"?{request.url.query}" if request.url.query else ""


def _known(error: Exception) -> SerinusError:
    if isinstance(error, SerinusError):
        return error
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"][1:])
        return NotFound(f"{where}: {first['msg']}", "follow a link of the console")
    if isinstance(error, HTTPException):
        kind = NotFound if error.status_code == 404 else BadInput
        return kind("there is no such page", "the overview links to all there is")
    return _of_the_database(error)


def _of_the_database(error: Exception) -> SerinusError:
    if isinstance(error, IntegrityError):
        return Stale("somebody else wrote the same at the same time")
    log.error("a page failed", exc_info=error)
    if isinstance(error, OperationalError):
        return Unavailable("the database does not answer", "check that the database runs; the log has the rest")
    return SerinusError("the console failed at this page")
