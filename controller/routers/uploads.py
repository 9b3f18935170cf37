"""Uploads in pieces, which go on after any break: begin, send what the server lacks, finish."""

from __future__ import annotations

from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Header, Request, Response
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from controller.pushing import register_tar
from controller.receiving import PIECE_BYTES
from controller.registry_words import UploadBody, UploadView
from controller.services import Engineering, Services, Used
from controller.spool import WrongOffset
from controller.tables import UploadRow
from controller.unpack import MAX_BYTES
from controller.uploads import begin, finished, upload_of
from controller.words import Pushed
from serinus.errors import InvalidPackage, Stale, TooLarge
from serinus.tasks import Name

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["uploads"])
SPARE_BYTES = 1 << 20
Offset = Annotated[int, Header(alias="Upload-Offset", ge=0, lt=2**63, description="Where the piece begins.")]
PIECE = {
    "requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
    "responses": {"409": {"description": "The upload stands elsewhere: the header Upload-Offset says where."}},
}


@router.post("/models/{model}/uploads", status_code=201)
def start(model: Name, body: UploadBody, services: Used, caller: Engineering, response: Response) -> UploadView:
    """Begin an upload of a package's tar, or find the one of the same bytes that you began."""
    if body.size_bytes > MAX_BYTES + SPARE_BYTES:
        raise TooLarge(f"the package is larger than {MAX_BYTES} bytes")
    with services.db.write() as session:
        row = begin(
            session,
            model,
            body.digest,
            body.size_bytes,
            signatures=body.signatures,
            actor=caller.name,
            now=services.clock(),
        )
        return _view(services, row, response)


@router.get("/uploads/{upload}")
def get(upload: str, services: Used, caller: Engineering, response: Response) -> UploadView:
    """Where it stands."""
    return _view(services, _row(services, upload, caller.name), response)


@router.patch("/uploads/{upload}", response_model=UploadView, openapi_extra=PIECE)
async def patch(
    upload: str, *, request: Request, services: Used, caller: Engineering, offset: Offset, response: Response
) -> Any:
    """Send bytes that begin at Upload-Offset, as many as you like. What has come when the connection breaks counts."""
    row = await to_thread.run_sync(_row, services, upload, caller.name)
    spool, at, pending = services.store.spool, offset, bytearray()
    try:
        if at != spool.offset(upload):
            raise WrongOffset(spool.offset(upload))
        try:
            async for chunk in request.stream():
                pending += chunk
                if len(pending) >= PIECE_BYTES:
                    at = await to_thread.run_sync(spool.write, upload, at, bytes(pending), row.size_bytes)
                    pending.clear()
        except ClientDisconnect:
            await to_thread.run_sync(spool.write, upload, at, bytes(pending), row.size_bytes)
            return Response(status_code=400)  # nobody reads it
        await to_thread.run_sync(spool.write, upload, at, bytes(pending), row.size_bytes)
    except WrongOffset as error:
        return _elsewhere(error.offset)
    await to_thread.run_sync(spool.sync, upload)
    return _view(services, row, response)


@router.post("/uploads/{upload}/finish", status_code=201)
async def finish(upload: str, services: Used, caller: Engineering) -> Pushed:
    """All has come: inspect the package and register it. Again: the same answer."""
    row = await to_thread.run_sync(_row, services, upload, caller.name)
    if row.version is not None and row.package is not None:
        return Pushed(version=row.version, digest=row.package, created=False)
    return await to_thread.run_sync(_finish, services, row, limiter=services.pushes)


def _finish(services: Services, row: UploadRow) -> Pushed:
    spool = services.store.spool
    if (has := spool.offset(row.id)) != row.size_bytes:
        raise Stale(f"the upload has {has} of {row.size_bytes} bytes", "send the rest first")
    with services.store.workspace() as work:
        spool.lend(row.id, work / "upload.tar")
        if spool.sha256(row.id) != row.digest:
            spool.remove(row.id)
            raise InvalidPackage("what has come is not what was announced: its SHA-256 differs", "send it once more")
        pushed = register_tar(services, row.model, work, row.signatures, row.actor)
    with services.db.write() as session:
        finished(session, row.id, pushed.version, pushed.digest)
    spool.remove(row.id)
    return pushed


def _row(services: Services, upload: str, actor: str) -> UploadRow:
    services.store.spool.path(upload)
    with services.db.read() as session:
        return upload_of(session, upload, actor, services.clock())


def _view(services: Services, row: UploadRow, response: Response) -> UploadView:
    offset = row.size_bytes if row.version is not None else services.store.spool.offset(row.id)
    response.headers["Upload-Offset"] = str(offset)
    return UploadView(
        id=row.id,
        model=row.model,
        offset=offset,
        size_bytes=row.size_bytes,
        expires_at=row.expires_at,
        version=row.version,
    )


def _elsewhere(offset: int) -> JSONResponse:
    problem = Stale(f"the upload stands at {offset}", "send what begins there").problem()
    headers = {"Upload-Offset": str(offset)}
    return JSONResponse({**problem, "offset": offset}, 409, headers=headers, media_type="application/problem+json")
