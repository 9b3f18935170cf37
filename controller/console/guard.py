"""What stands around every page: headers, the session's cookie, and that a form was sent from here."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controller.console.sessions import SESSION_S, csrf_of
from serinus.errors import BadInput, NotAllowed

__all__ = ["COOKIE", "Headers", "check_form", "check_host", "from_elsewhere", "is_loopback", "keep", "secret_of"]

COOKIE = "serinus_console"
MOST_FIELDS = 300
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with `no-referrer` a form would come without its Origin
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}


class Headers:
    """Gives every answer the headers above, and keeps it out of caches unless it says otherwise."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self.app(scope, receive, sending if scope["type"] == "http" else send)


def secret_of(request: Request) -> str:
    """What the browser's cookie holds; a new one, which `keep` must send, when it has none."""
    known: str | None = request.cookies.get(COOKIE)
    if known and len(known) <= 200:
        return known
    fresh: str = getattr(request.state, "secret", "") or secrets.token_urlsafe(32)
    request.state.secret = fresh
    return fresh


def keep(response: Response, request: Request, secret: str) -> None:
    """Send the cookie: no script reads it, no other site sends it, no line carries it in clear but loopback."""
    response.set_cookie(
        COOKIE,
        secret,
        max_age=int(SESSION_S),
        path="/console",
        secure=not is_loopback(request),
        httponly=True,
        samesite="strict",
    )


def is_loopback(request: Request) -> bool:
    """Whether the browser reached us by a name of this machine."""
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def check_host(request: Request) -> None:
    """While everybody is admin, a page of another site must not pass for this one by a name that it let point here."""
    if not is_loopback(request):
        raise NotAllowed(
            "no token is known, so the console answers only under a name of this machine",
            "open it as http://127.0.0.1:PORT/console/, or let the controller know tokens (`serinus token`)",
        )


def from_elsewhere(request: Request) -> bool:
    """True when a page of another site led here: its first request comes without our cookie."""
    return request.headers.get("sec-fetch-site") == "cross-site"


async def check_form(request: Request) -> Mapping[str, str]:
    """The fields of a form that one of our own pages sent. Raises NotAllowed, BadInput."""
    origin, host = request.headers.get("origin"), request.headers.get("host", "")
    site = request.headers.get("sec-fetch-site", "same-origin" if origin else "unknown")
    if site != "same-origin" or (origin is not None and urlsplit(origin).netloc != host):
        raise NotAllowed("this form was not sent from the console itself", "open the page in the console and repeat")
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise BadInput("expected the fields of a form")
    try:
        text = (await request.body()).decode()
        fields = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict"))
    except ValueError as error:
        raise BadInput("these are not the fields of a form") from error
    if "\0" in "".join(fields.values()):
        raise BadInput("a field has a character that no text has")
    if not hmac.compare_digest(fields.pop("csrf", "").encode(), csrf_of(secret_of(request)).encode()):
        raise NotAllowed(
            "this form is not of your session: it was open for too long, or its cookie is gone",
            "reload the page and repeat; nothing was done",
        )
    return fields
