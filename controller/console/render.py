"""Templates to answers: whole pages, and fragments that a page asks for again every few seconds."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

import serinus
from controller.console import words
from controller.console.assets import asset_url
from controller.console.guard import from_elsewhere, keep
from controller.console.visit import Visit

__all__ = ["fragment", "live", "page", "to_path"]

POLL_S = 2
UNCHANGED = 204
"""htmx leaves a page as it is at this answer."""


def to_path(*parts: object, **query: object) -> str:
    """A path of the console; what is put in is quoted."""
    path = "/".join(["/console", *(quote(str(part), safe="") for part in parts)])
    told = {key: value for key, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(told)}" if told else path


def _environment() -> Environment:
    folder = Path(__file__).parent / "templates"
    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in words.__all__:
        made.filters[name] = getattr(words, name)
    made.globals.update(asset=asset_url, path=to_path, release=serinus.__version__, kind_of=words.phase_kind)
    return made


TEMPLATES = _environment()


def page(
    request: Request, template: str, visit: Visit | None = None, *, status: int = 200, now: float = 0.0, **context: Any
) -> Response:
    """A whole page. A browser without a cookie gets one, for its forms; not one that another site led here: that keeps
    back the cookie it has, and would lose it."""
    told = {"visit": visit, "now": now, "where": request.url.path, **context}
    response = HTMLResponse(TEMPLATES.get_template(template).render(told), status)
    if (secret := getattr(request.state, "secret", "")) and not from_elsewhere(request):
        keep(response, request, secret)
    return response


def live(name: str, url: str, template: str, *, polls: bool = True, every_s: int = POLL_S, **context: Any) -> Markup:
    """A fragment that asks for itself again, and gets an answer only when it would look different.

    `name`: its id in the page. `polls`: False when nothing will change any more."""
    inner = Markup(TEMPLATES.get_template(template).render(context))  # noqa: S704 made by an escaping template
    mark = hashlib.sha256(inner.encode()).hexdigest()[:16]
    asks = Markup("")
    if polls:
        sign = "&" if "?" in url else "?"
        asks = Markup(' hx-get="{}{}known={}" hx-trigger="every {}s" hx-swap="outerHTML"').format(
            url, sign, mark, every_s
        )
    return Markup('<div id="{}" class="live" data-mark="{}"{}>\n{}</div>').format(name, mark, asks, inner)


def fragment(made: Markup, known: str) -> Response:
    """The answer to a fragment that asks for itself: itself, or nothing when `known` is what it looks like already."""
    if known and f'data-mark="{known}"' in made[:300]:
        return Response(status_code=UNCHANGED)
    return HTMLResponse(str(made))
