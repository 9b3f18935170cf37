"""Versions: pushed as a tar, inspected, numbered."""

from __future__ import annotations

from pathlib import Path

from anyio import to_thread
from fastapi import APIRouter, Request
from sqlalchemy import select

from controller.paging import Key, Page, Paged, page_of
from controller.registry import add_version, check_covers
from controller.rows import model_of
from controller.services import Engineering, Services, Used, Viewing
from controller.tables import Version
from controller.unpack import MAX_BYTES
from controller.words import Pushed, VersionView
from serinus.errors import TooLarge
from serinus.tasks import Name

__all__ = ["router"]

router = APIRouter(prefix="/v1/models", tags=["versions"])
SPARE_BYTES = 1 << 20
"""For the headers of a tar whose files are as large as they may be."""


@router.post(
    "/{model}/versions",
    status_code=201,
    openapi_extra={
        "requestBody": {"content": {"application/x-tar": {"schema": {"type": "string", "format": "binary"}}}}
    },
)
async def push(model: Name, request: Request, services: Used, _caller: Engineering) -> Pushed:
    """Register the package in the body, an uncompressed tar of its folder. The same package again is the same version.

    A package that is refused leaves nothing behind."""
    await to_thread.run_sync(_must_exist, services, model)
    with services.store.workspace() as work:
        await _spool(request, work / "upload.tar")
        return await to_thread.run_sync(_register, services, model, work, limiter=services.pushes)


@router.get("/{model}/versions")
def list_versions(model: Name, services: Used, _caller: Viewing, paged: Paged) -> Page[VersionView]:
    """Versions of a model, the oldest first."""
    with services.db.read() as session:
        model_of(session, model)
        query = select(Version).where(Version.model == model)
        return page_of(session, query, [Key(Version.number)], paged, _line)


def _line(row: Version) -> VersionView:
    return VersionView(
        version=row.number,
        digest=row.digest,
        tasks=row.manifest.task_names,
        provenance=row.manifest.provenance,
        created_at=row.created_at,
    )


def _must_exist(services: Services, model: str) -> None:
    with services.db.read() as session:
        model_of(session, model)


async def _spool(request: Request, path: Path) -> None:
    """Write the body to a file, a megabyte at a time, up to the limit."""
    limit, size, pending = MAX_BYTES + SPARE_BYTES, 0, bytearray()
    with path.open("wb") as file:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise TooLarge(f"the package is larger than {MAX_BYTES} bytes")
            pending += chunk
            if len(pending) >= SPARE_BYTES:
                await to_thread.run_sync(file.write, bytes(pending))
                pending.clear()
        await to_thread.run_sync(file.write, bytes(pending))


def _register(services: Services, model: str, work: Path) -> Pushed:
    with services.db.read() as session:
        sla = model_of(session, model).sla
    digest, manifest = services.store.add(work, lambda found: check_covers(sla, found))
    with services.db.write() as session:
        number, created = add_version(session, model, digest, manifest, services.clock())
    return Pushed(version=number, digest=digest, created=created)
