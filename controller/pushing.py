"""A package that has come, by whatever way, becomes a version: examined, stored, named; in this order."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from controller.audit import audit
from controller.holds import confirm, hold
from controller.registry import add_version, check_covers
from controller.rows import lock_model, model_of
from controller.services import Services
from controller.shelf import fetch_package
from controller.signatures import check_signatures, check_signed, keep_signatures
from controller.store import Parcel
from controller.words import FetchBody, Pushed
from serinus.baseline import BASELINE, MAX_BASELINE_BYTES
from serinus.diff import Measured, measured_of
from serinus.errors import BadInput
from serinus.signing import Signature

__all__ = ["register", "register_tar", "register_uri"]


def register_tar(services: Services, model: str, work: Path, signatures: Iterable[Signature], actor: str) -> Pushed:
    """The tar `work`/upload.tar. Raises NotFound, InvalidPackage, TooLarge, BadSignature, Unsigned, Stale."""
    with services.db.read() as session:
        sla = model_of(session, model).sla
    parcel = services.store.examine(work, lambda manifest: check_covers(sla, manifest))
    return register(services, model, parcel, signatures, actor=actor)


def register_uri(services: Services, model: str, work: Path, body: FetchBody, actor: str) -> Pushed:
    """What lies at a URI. Raises BadInput where that is below none of the sources; else as `register_tar`."""
    allowed = any(body.uri.startswith(source.rstrip("/") + "/") for source in services.sources)
    if not allowed:
        known = ", ".join(services.sources) or "none"
        raise BadInput(
            f"the package's URI is {body.uri!r}, below none of the places that the controller may read: {known}",
            "set SERINUS_SOURCES of the controller, or push the package",
        )
    folder = work / "package"
    folder.mkdir()
    with services.db.read() as session:
        sla = model_of(session, model).sla
    fetch_package(body.uri, body.digest, folder)
    parcel = services.store.examine_folder(folder, lambda manifest: check_covers(sla, manifest))
    return register(services, model, parcel, (), actor=actor)


def register(
    services: Services,
    model: str,
    parcel: Parcel,
    signatures: Iterable[Signature],
    *,
    actor: str,
    imported: dict[str, Any] | None = None,
) -> Pushed:
    """The same package again is the same version: signatures that are new are added to it.

    Killed anywhere it leaves at most a package that no version names, which is garbage once its hold is over."""
    signatures, now = tuple(signatures), services.clock()
    with services.db.write() as session:
        row = lock_model(session, model)
        checked = check_signatures(session, parcel.digest, signatures)
        check_signed(session, row, parcel.digest, checked.values())
        hold(session, parcel.digest, now)
    measured = _measured(parcel)
    services.store.keep(parcel)
    with services.db.write() as session:
        told = {"measured": measured, "imported": imported}
        number, created = _name(session, model, parcel, signatures, actor=actor, now=now, told=told)
    return Pushed(version=number, digest=parcel.digest, created=created)


def _name(
    session: Session,
    model: str,
    parcel: Parcel,
    signatures: tuple[Signature, ...],
    *,
    actor: str,
    now: float,
    told: dict[str, Any],
) -> tuple[int, bool]:
    row = lock_model(session, model)
    confirm(session, parcel.digest)
    number, created = add_version(session, model, parcel.digest, parcel.manifest, now, actor=actor, **told)
    fresh = keep_signatures(session, parcel.digest, signatures, actor=actor, now=now)
    check_signed(session, row, parcel.digest)
    if created or fresh:
        detail = {
            "digest": parcel.digest,
            "created": created,
            "signed_by": [signature.key for signature in fresh],
            "imported_from": (told["imported"] or {}).get("from"),
        }
        subject = f"models/{model}/versions/{number}"
        audit(session, actor=actor, action="version.push", subject=subject, detail=detail, now=now)
    return number, created


def _measured(parcel: Parcel) -> Measured:
    with (parcel.folder / BASELINE).open("rb") as file:
        return measured_of(file.read(MAX_BASELINE_BYTES + 1))
