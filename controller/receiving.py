"""Bodies that are too large to be held in memory, and signatures that come in headers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from anyio import to_thread
from fastapi import Header, Request
from pydantic import ValidationError

from serinus.errors import BadInput, TooLarge
from serinus.signing import Signature

__all__ = ["PIECE_BYTES", "TAR_BODY", "SignatureHeaders", "receive", "signatures_in"]

PIECE_BYTES = 1 << 20
MAX_SIGNATURES = 16
SignatureHeaders = Annotated[
    list[str] | None,
    Header(
        alias="Serinus-Signature",
        description="A signature of the package as JSON, as `serinus.signing` makes it; may come several times.",
    ),
]
TAR_BODY = {"requestBody": {"content": {"application/x-tar": {"schema": {"type": "string", "format": "binary"}}}}}


async def receive(request: Request, path: Path, limit: int) -> None:
    """Write the body to a file, a megabyte at a time. Raises TooLarge beyond `limit` bytes."""
    size, pending = 0, bytearray()
    with path.open("wb") as file:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise TooLarge(f"the body is larger than {limit} bytes")
            pending += chunk
            if len(pending) >= PIECE_BYTES:
                await to_thread.run_sync(file.write, bytes(pending))
                pending.clear()
        await to_thread.run_sync(file.write, bytes(pending))


def signatures_in(headers: list[str] | None) -> tuple[Signature, ...]:
    """Raises BadInput."""
    if len(headers or ()) > MAX_SIGNATURES:
        raise BadInput(f"more than {MAX_SIGNATURES} signatures")
    try:
        return tuple(Signature.model_validate_json(text[:2_000]) for text in headers or ())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise BadInput(f"Serinus-Signature: {where}: {first['msg']}") from error
