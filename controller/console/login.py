"""Logging in, with a token or a link that works once, and out."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from controller.audit import audit
from controller.console.guard import check_host, from_elsewhere, is_loopback, keep, secret_of
from controller.console.render import page, to_path
from controller.console.sessions import CODE_S, begin, caller_of, csrf_of, end, make_code, open_to_all, redeem
from controller.console.visit import Fields
from controller.limits import origin
from controller.services import Services, Used, Viewing
from serinus.errors import NotAllowed, SerinusError, Unauthenticated
from serinus.tasks import Word

__all__ = ["HOME", "api", "router"]

HOME = "/console/"
router = APIRouter()
api = APIRouter(prefix="/v1/console", tags=["console"])


class ConsoleLink(Word):
    """`path`: open it below the controller's URL within `expires_in_s`; it works once."""

    path: str
    expires_in_s: float


@api.post("/login", status_code=201)
def link(request: Request, services: Used, caller: Viewing, response: Response) -> ConsoleLink:
    """A link that logs a browser in as the sender of this request. It is kept nowhere."""
    response.headers["Cache-Control"] = "no-store"
    now = services.clock()
    with services.db.write() as session:
        code = make_code(session, request.headers.get("authorization"), now)
        audit(session, actor=caller.name, action="console.link", subject=f"tokens/{caller.name}", detail={}, now=now)
    return ConsoleLink(path=f"/console/login/{code}", expires_in_s=CODE_S)


@router.get("/login")
def ask(request: Request, services: Used, next: str = HOME) -> Response:
    if from_elsewhere(request):
        return page(request, "bounce.html", to=to_path("login", next=_inside(next)))
    with services.db.read() as session:
        if open_to_all(session):
            check_host(request)
        known = caller_of(session, secret_of(request), services.clock()) is not None
    return RedirectResponse(_inside(next), 303) if known else _form(request, _inside(next))


@router.get("/login/{code}")
def by_link(request: Request, services: Used, code: str) -> Response:
    if from_elsewhere(request):
        raise NotAllowed("a log-in link is not followed from another site", "open the link that the command line made")
    now = services.clock()
    with services.db.write() as session:
        secret = redeem(session, code, now)
    return _in(request, services, secret, HOME)


@router.post("/login")
def with_token(request: Request, services: Used, fields: Fields) -> Response:
    to = _inside(fields.get("next", HOME))
    try:
        with services.db.write() as session:
            secret = begin(session, fields.get("token", "").strip(), services.clock())
    except Unauthenticated as error:
        where = origin(request.client.host if request.client else None)
        services.door.failed.take(where, time.monotonic(), "tokens from your address that are not known")
        return _form(request, to, error)
    except SerinusError as error:
        return _form(request, to, error)
    return _in(request, services, secret, to)


@router.post("/logout")
def out(request: Request, services: Used, _fields: Fields) -> Response:
    with services.db.write() as session:
        end(session, secret_of(request))
    response = RedirectResponse("/console/login", 303)
    response.delete_cookie("serinus_console", path="/console")
    return response


def _in(request: Request, services: Services, secret: str, to: str) -> Response:
    """A new secret at each log-in: one that somebody planted before is worth nothing. It is audited."""
    now = services.clock()
    with services.db.write() as session:
        caller = caller_of(session, secret, now)
        name = caller.name if caller else "?"
        audit(session, actor=name, action="console.login", subject=f"tokens/{name}", detail={}, now=now)
    response = RedirectResponse(to, 303)
    keep(response, request, secret)
    return response


def _form(request: Request, to: str, error: SerinusError | None = None) -> Response:
    clear = request.url.scheme == "http" and not is_loopback(request)
    csrf = csrf_of(secret_of(request))
    return page(
        request, "login.html", status=error.status if error else 200, next=to, csrf=csrf, error=error, clear=clear
    )


def _inside(path: str) -> str:
    """A path of the console, whatever somebody wrote into the link."""
    plain = path.startswith("/console/") and path.isprintable() and "\\" not in path and len(path) <= 1000
    return path if plain and not path.startswith("/console/login") else HOME
