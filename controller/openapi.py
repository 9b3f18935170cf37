"""What the API says of itself: how one shows a token, what errors look like, an example of everything."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from serinus.errors import NotFound

__all__ = ["describe"]

ABOUT = """Registry of models and versions, and their rollouts.

Errors are problem details (RFC 9457); `type` names them for programs. Lists come in pages: ask again with `next` as
`cursor`. A write with an `Idempotency-Key` happens once. `ETag` and `If-Match` keep one from overwriting what another
has changed. Each answer has an `X-Request-Id`, which the controller's log has as well."""
OPEN = ("/healthz", "/readyz")
OF_ALL = {
    400: "The request is not what was expected.",
    401: "No token, or none that is known.",
    403: "The token's role may not do this.",
    404: "There is no such thing.",
    429: "Too many requests; wait `Retry-After` seconds.",
    500: "The controller failed; its log has the request's id.",
    503: "The database, or room for one more, is missing for now.",
}
OF_WRITES = {
    409: "What there is does not allow it, or somebody else was faster.",
    412: "It is not what `If-Match` names any more.",
    413: "The body is too large.",
    415: "The body has a form that is not taken.",
    422: "The SLA or the package is invalid, or the Idempotency-Key belongs to another request.",
}
PROBLEM = {
    "type": "object",
    "title": "Problem",
    "description": "What went wrong, and what the reader can do (RFC 9457).",
    "required": ["type", "title", "status", "detail", "hint"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "Stable; docs/api.md lists them all."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "hint": {"type": "string"},
    },
    "examples": [NotFound("there is no model 'ads'").problem()],
}
ONCE = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Made anew for each write, and sent again with its repetitions: the write happens once (24 h).",
    "schema": {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$"},
    "example": "6f9f2c1e0b7d4d0e",
}


def describe(app: FastAPI) -> None:
    """Make the application's OpenAPI document whole. It is made when somebody asks for it first."""

    @cache
    def document() -> dict[str, Any]:
        made = get_openapi(title=app.title, version=app.version, description=ABOUT, routes=app.routes)
        _complete(made)
        return made

    app.openapi = document  # type: ignore[method-assign]  # the way that FastAPI's documentation names


def _complete(document: dict[str, Any]) -> None:
    parts = document.setdefault("components", {})
    parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"token": []}]
    schemas: dict[str, Any] = parts.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = PROBLEM
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            _of_operation(path, method, operation)
    examples = json.loads((Path(__file__).parent / "examples.json").read_text())
    for name, schema in schemas.items():
        if (example := _example(name, examples)) is not None:
            schema["examples"] = [example]


def _of_operation(path: str, method: str, operation: dict[str, Any]) -> None:
    said: str = operation.get("description", "")
    operation["summary"] = said.split("\n", maxsplit=1)[0].partition(". ")[0].rstrip(".") or operation["summary"]
    answers: dict[str, Any] = operation["responses"]
    answers.pop("422", None)
    if path in OPEN:
        operation["security"] = []
    writes = method in ("post", "put", "patch", "delete")
    told = {**OF_ALL, **(OF_WRITES if writes else {})} if path not in OPEN else {503: OF_ALL[503]}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for status, meaning in sorted(told.items()):
        answers.setdefault(str(status), {"description": meaning})
    for code, answer in answers.items():
        if code >= "400":
            answer["content"] = problem
    if writes and not path.startswith(("/v1/pools/", "/v1/monitor/")):
        operation.setdefault("parameters", []).append(ONCE)


def _example(name: str, examples: dict[str, Any]) -> Any:
    """By the word's name; FastAPI puts the module before it where two have the same."""
    plain = name.rsplit("__", 1)[-1]
    if plain.startswith("Page_"):
        item = _example(plain[len("Page_") : -1], examples)
        return None if item is None else {"items": [item], "next": None}
    return examples.get(plain)
