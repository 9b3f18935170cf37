"""The files of packages, for replicas and monitors that do not see the store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Path
from sqlalchemy import select
from starlette.responses import Response, StreamingResponse

from controller.services import Copying, Services, Used
from controller.tables import Version
from serinus.errors import NotFound, Unavailable
from serinus.package_source import source_of

__all__ = ["router"]

router = APIRouter(prefix="/v1/packages", tags=["data plane"])
Digest = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Path(pattern=r"^(parts/)?[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]
PIECE_BYTES = 1 << 20
AS_BYTES: dict[int | str, dict[str, Any]] = {200: {"content": {"application/octet-stream": {}}}}


@router.get("/{digest}/{name:path}", response_class=StreamingResponse, responses=AS_BYTES)
async def read(digest: Digest, name: Name, services: Used, _caller: Copying) -> Response:
    """One file of a package that some version has. Its digest, or the manifest's, says whether it came whole."""
    pieces = await to_thread.run_sync(_opened, services, digest, name)
    return StreamingResponse(pieces, media_type="application/octet-stream")


def _opened(services: Services, digest: str, name: str) -> Iterator[bytes]:
    """Raises NotFound, Unavailable before anything is sent."""
    with services.db.read() as session:
        if session.scalar(select(Version.number).where(Version.digest == digest).limit(1)) is None:
            raise NotFound(f"no version has the package {digest[:12]}")
    source = source_of(services.store.shelf.uri(digest))
    try:
        file = source.files.open(f"{source.folder}/{name}", "rb")
    except FileNotFoundError as error:
        raise NotFound(f"the package {digest[:12]} has no {name}") from error
    except Exception as error:  # drivers of stores raise classes of their own, without a common base
        raise Unavailable(f"the package {digest[:12]} cannot be read: {error}") from error
    return _pieces(file)


def _pieces(file: Any) -> Iterator[bytes]:
    with file:
        while piece := file.read(PIECE_BYTES):
            yield piece
