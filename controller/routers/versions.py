"""Versions: pushed as a tar, inspected, numbered; their cards, their signatures, and two of them compared."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from controller.audit import audit
from controller.cards import card_of, card_row, card_tag, compare, edit_card, locked_card
from controller.deletion import delete_version
from controller.etags import IfMatch, require, tell
from controller.paging import Key, Page, Paged, page_of
from controller.pushing import register_tar, register_uri
from controller.receiving import TAR_BODY, SignatureHeaders, receive, signatures_in
from controller.registry import version_of
from controller.registry_words import CardBody, CardView
from controller.rows import model_of
from controller.services import Admin, Engineering, Services, Used, Viewing
from controller.signatures import keep_signatures
from controller.tables import Version
from controller.unpack import MAX_BYTES
from controller.words import FetchBody, Pushed, Reason, VersionView
from serinus.diff import VersionDiff
from serinus.signing import Signature
from serinus.tasks import Name

__all__ = ["router"]

router = APIRouter(prefix="/v1/models", tags=["versions"])
SPARE_BYTES = 1 << 20
"""For the headers of a tar whose files are as large as they may be."""
Number = Annotated[int, Path(ge=1, lt=2**63)]
Digest = Annotated[str, Query(pattern=r"^[0-9a-f]{64}$")]
Which = Annotated[int, Query(ge=1, lt=2**63)]


@router.post("/{model}/versions", status_code=201, openapi_extra=TAR_BODY)
async def push(
    model: Name, request: Request, services: Used, caller: Engineering, signature: SignatureHeaders = None
) -> Pushed:
    """Register the package in the body, an uncompressed tar of its folder. The same package again is the same version.

    A package that is refused leaves nothing behind."""
    signatures = signatures_in(signature)
    await to_thread.run_sync(_must_exist, services, model)
    with services.store.workspace() as work:
        await receive(request, work / "upload.tar", MAX_BYTES + SPARE_BYTES)
        return await to_thread.run_sync(
            register_tar, services, model, work, signatures, caller.name, limiter=services.pushes
        )


@router.post("/{model}/versions/fetch", status_code=201)
async def fetch(model: Name, body: FetchBody, services: Used, caller: Engineering) -> Pushed:
    """Register the package that lies at a URI, below one of the controller's sources; as if it was pushed."""
    await to_thread.run_sync(_must_exist, services, model)
    with services.store.workspace() as work:
        return await to_thread.run_sync(register_uri, services, model, work, body, caller.name, limiter=services.pushes)


@router.get("/{model}/versions")
def list_versions(
    model: Name, services: Used, _caller: Viewing, paged: Paged, digest: Digest | None = None
) -> Page[VersionView]:
    """Versions of a model, the oldest first. `digest`: the one with this package."""
    with services.db.read() as session:
        model_of(session, model)
        query = select(Version).where(Version.model == model, Version.deleted_at.is_(None))
        if digest is not None:
            query = query.where(Version.digest == digest)
        return page_of(session, query, [Key(Version.number)], paged, _line)


@router.get("/{model}/versions/{number}")
def card(model: Name, number: Number, services: Used, _caller: Viewing, response: Response) -> CardView:
    """All that is known of a version."""
    with services.db.read() as session:
        return _tagged(session, services, model, number, response)


@router.patch("/{model}/versions/{number}")
def edit(
    model: Name,
    *,
    number: Number,
    body: CardBody,
    services: Used,
    caller: Engineering,
    response: Response,
    if_match: IfMatch = None,
) -> CardView:
    """Replace tags, notes, or both. Nothing else of a version ever changes."""
    with services.db.write() as session:
        row = locked_card(session, model, number)
        require(if_match, *card_tag(row))
        edit_card(session, row, tags=body.tags, notes=body.notes, actor=caller.name, now=services.clock())
        return _tagged(session, services, model, number, response)


@router.delete("/{model}/versions/{number}", status_code=204)
def delete(
    model: Name,
    *,
    number: Number,
    services: Used,
    caller: Admin,
    if_match: IfMatch = None,
    reason: Annotated[Reason, Query()] = "",
) -> None:
    """Delete a version; its files go with the garbage. Refused (409) while an alias, a rollout, the way back after a
    promotion or a replica uses it."""
    with services.db.write() as session:
        require(if_match, *card_tag(locked_card(session, model, number)))
        delete_version(session, model, number, reason=reason, actor=caller.name, now=services.clock())


@router.post("/{model}/versions/{number}/signatures")
def sign(
    model: Name, *, number: Number, body: Signature, services: Used, caller: Engineering, response: Response
) -> CardView:
    """Add a signature of the version's package, by a key that the registry knows. The same one again is fine."""
    now = services.clock()
    with services.db.write() as session:
        locked_card(session, model, number)
        digest = version_of(session, model, number).digest
        for fresh in keep_signatures(session, digest, (body,), actor=caller.name, now=now):
            subject, detail = f"models/{model}/versions/{number}", {"digest": digest, "key": fresh.key}
            audit(session, actor=caller.name, action="version.sign", subject=subject, detail=detail, now=now)
        return _tagged(session, services, model, number, response)


@router.get("/{model}/diff", tags=["versions"])
def diff(model: Name, old: Which, new: Which, services: Used, _caller: Viewing) -> VersionDiff:
    """Two versions side by side: what their makers measured, per task and slice, and what they are made of."""
    with services.db.read() as session:
        return compare(session, services.store, model, old, new)


def _tagged(session: Session, services: Services, model: str, number: int, response: Response) -> CardView:
    found = card_of(session, services.store, model, number)
    tell(response, *card_tag(card_row(session, model, number)))
    return found


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
