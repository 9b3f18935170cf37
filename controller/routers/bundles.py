"""Versions carried from one registry to another."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Path, Request
from starlette.background import BackgroundTask
from starlette.responses import FileResponse

from controller.bundles import MAX_BUNDLE_BYTES, export_bundle, import_bundle
from controller.cards import card_row
from controller.receiving import PIECE_BYTES, TAR_BODY, receive
from controller.registry import version_of
from controller.registry_words import Imported
from controller.rows import model_of
from controller.services import Engineering, Used
from serinus.tasks import Name

__all__ = ["router"]

router = APIRouter(prefix="/v1/models/{model}", tags=["versions"])
Number = Annotated[int, Path(ge=1, lt=2**63)]
TAR: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/x-tar": {}}, "description": "The bundle, an uncompressed tar."}
}


@router.get("/versions/{number}/bundle", response_class=FileResponse, responses=TAR)
def export(model: Name, number: Number, services: Used, caller: Engineering) -> FileResponse:
    """A version with its package, SLA, signatures and the evidence of its last rollout. It is audited: the package
    holds a sample of raw inputs."""
    with ExitStack() as stack:
        work = stack.enter_context(services.store.workspace())
        path = export_bundle(services, model, number, work, caller)
        later = BackgroundTask(stack.pop_all().close)
    name = f"{model}-{number}.bundle.tar"
    return FileResponse(path, media_type="application/x-tar", filename=name, background=later)


@router.get("/versions/{number}/imported")
def imported(model: Name, number: Number, services: Used, _caller: Engineering) -> dict[str, Any]:
    """What came with the bundle of an imported version: card, SLA, rollout and evidence, as told there. {}: pushed."""
    with services.db.read() as session:
        model_of(session, model)
        version_of(session, model, number)
        return card_row(session, model, number).imported or {}


@router.post("/bundles", status_code=201, openapi_extra=TAR_BODY)
async def import_(model: Name, request: Request, services: Used, caller: Engineering) -> Imported:
    """Register the version in the body, a bundle. Everything in it is checked; what it tells of itself decides nothing.

    The model is made with the bundle's SLA if there is none, else it keeps its own."""
    with services.store.workspace() as work:
        await receive(request, work / "upload.tar", MAX_BUNDLE_BYTES + PIECE_BYTES)
        return await to_thread.run_sync(import_bundle, services, model, work, caller, limiter=services.pushes)
