"""Against lost updates: a GET tells the ETag of what it shows, a write may name the one that it means to change."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any

from fastapi import Header, Response
from pydantic_core import to_jsonable_python

from serinus.errors import BadInput, Changed

__all__ = ["IfMatch", "etag", "require", "tell"]

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=1000,
        description="The ETag of what you mean to change; if it is another one by now, nothing is done (412).",
    ),
]
"""The parameter of a handler that writes; hand it to `require`."""
TAGS = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"(?:[ \t]*,[ \t]*(?:W/)?"[\x21\x23-\x7e]*")*')


def etag(*parts: Any) -> str:
    """A strong ETag of what a write could overwrite: words, rows' columns, plain values.

    Leave out what moves by itself (watermarks, waiting times): it would refuse writes that overwrite nothing."""
    told = json.dumps(to_jsonable_python(parts), sort_keys=True, separators=(",", ":"))
    return f'"{hashlib.sha256(told.encode()).hexdigest()[:32]}"'


def tell(response: Response, *parts: Any) -> None:
    """Send the ETag of these parts with the answer; `response` is the handler's parameter."""
    response.headers["ETag"] = etag(*parts)


def require(if_match: str | None, *parts: Any) -> None:
    """Call it in the write's transaction, after the rows are locked, with the parts as they are before the write.

    `parts`: those that `tell` was called with; none at all: the thing does not exist. No header: nothing is required.
    Raises Changed when the header names another state, BadInput when it is no If-Match header."""
    if if_match is None:
        return
    asked = if_match.strip()
    if asked == "*":
        if not parts:
            raise Changed("If-Match: *, but there is nothing yet")
        return
    if not TAGS.fullmatch(asked):
        raise BadInput('If-Match: expected ETags in double quotes, such as "0123abcd"')
    if not parts or etag(*parts) not in re.findall(r'(?<!W/)"[^"]*"', asked):
        raise Changed("this is not what you have read any more")
