"""Versions carried from registry to registry: written as bundles, and read again by somebody who believes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.orm import Session

from controller.audit import audit
from controller.auth import Caller
from controller.cards import card_row
from controller.models import save
from controller.pushing import register
from controller.registry import check_covers, version_of
from controller.registry_words import Imported
from controller.rows import latest_evidence, model_of
from controller.services import Services
from controller.signatures import known_keys
from controller.tables import Model, RolloutRow, SignatureRow
from controller.unpack import MAX_BYTES, Layout, unpack
from serinus.bundle import BUNDLE, PATH, Bundle, BundledRollout, Card, Contents, read_bundle, write_bundle
from serinus.evidence import Evidence
from serinus.sla import Sla

__all__ = ["MAX_BUNDLE_BYTES", "export_bundle", "import_bundle"]

LAYOUT = Layout("a bundle, which `serinus export` writes", "bundle.json or package/manifest.json", PATH, BUNDLE)
MAX_BUNDLE_BYTES = MAX_BYTES + (128 << 20)


def export_bundle(services: Services, model: str, number: int, work: Path, caller: Caller) -> Path:
    """Write `work`/bundle.tar. Raises NotFound, InvalidPackage when the stored package is damaged, Unavailable."""
    now = services.clock()
    with services.db.write() as session:
        version = version_of(session, model_of(session, model).name, number)
        told = _told(session, model, number, version.digest)
        detail = {"digest": version.digest}
        subject = f"models/{model}/versions/{number}"
        audit(session, actor=caller.name, action="version.export", subject=subject, detail=detail, now=now)
    folder = work / "package"
    folder.mkdir()
    services.store.shelf.fetch(version.digest, folder)
    who = {"exported_at": now, "exported_by": caller.name}
    head = Bundle(model=model, version=number, digest=version.digest, files={}, **who)
    write_bundle(work / "bundle.tar", folder, head, told)
    return work / "bundle.tar"


def import_bundle(services: Services, model: str, work: Path, caller: Caller) -> Imported:
    """Check and register what `work`/upload.tar holds. Again: the same version. The model is made if there is none.

    Raises InvalidPackage, TooLarge, BadSignature, Unsigned, InvalidSla."""
    folder = work / "bundle"
    folder.mkdir()
    unpack(work / "upload.tar", folder, MAX_BUNDLE_BYTES, LAYOUT)
    contents = read_bundle(folder)
    ours = contents.sla.model_copy(update={"model": model})
    with services.db.read() as session:
        row = session.get(Model, model)
        sla = row.sla if row is not None and row.deleted_at is None else None
        known = known_keys(session)
    parcel = services.store.examine_folder(folder / "package", lambda manifest: check_covers(sla or ours, manifest))
    if sla is None:
        _create(services, ours, contents, caller)
    signatures = tuple(each for each in contents.signatures if each.key in known)
    imported = _imported(contents)
    pushed = register(services, model, parcel, signatures, actor=caller.name, imported=imported)
    fate: Literal["created", "same", "kept"] = "created" if sla is None else "same" if sla == ours else "kept"
    names = tuple(sorted(known[each.key] for each in signatures))
    told = {"model": model, "sla": fate, "signatures": names, "imported_from": imported["from"]}
    return Imported(**pushed.model_dump(), **told)


def _create(services: Services, sla: Sla, contents: Contents, caller: Caller) -> None:
    reason = f"imported with version {contents.head.version} of {contents.head.model}"
    with services.db.write() as session:
        there = session.get(Model, sla.model)
        if there is None or there.deleted_at is not None:
            save(session, sla, "default", signed_by=None, reason=reason, caller=caller, now=services.clock())


def _told(session: Session, model: str, number: int, digest: str) -> dict[str, bytes]:
    """Path in the bundle -> JSON."""
    card, version = card_row(session, model, number), version_of(session, model, number)
    who = {"created_by": card.created_by[:200], "created_at": version.created_at}
    found = {
        "card.json": _json(Card(tags=card.tags, notes=card.notes, **who)),
        "sla.json": _json(model_of(session, model).sla),
    }
    for row in session.scalars(select(SignatureRow).where(SignatureRow.digest == digest)):
        found[f"signatures/{row.fingerprint}.json"] = _json(row.body)
    last = select(RolloutRow).where(RolloutRow.model == model, RolloutRow.candidate == number)
    rollout = session.scalars(last.order_by(RolloutRow.started_at.desc(), RolloutRow.id).limit(1)).one_or_none()
    if rollout is not None:
        found["rollout.json"] = _json(
            BundledRollout(
                id=rollout.id,
                candidate=rollout.candidate,
                baseline=rollout.baseline,
                phase=rollout.phase,
                verdict=rollout.verdict,
                history=rollout.history,
            )
        )
        looks = [latest_evidence(session, rollout.id, stream) for stream in ("replay", "live")]
        decisive = tuple(look for look in looks if look is not None)
        found["evidence.json"] = TypeAdapter(tuple[Evidence, ...]).dump_json(decisive, indent=1)
    return found


def _imported(contents: Contents) -> dict[str, Any]:
    """What is kept with the version of where it came from: told by others, so it decides nothing here."""
    head = contents.head
    origin = {
        "model": head.model,
        "version": head.version,
        "exported_at": head.exported_at,
        "exported_by": head.exported_by,
        "bundle": contents.head_sha256,
    }
    rest = contents.model_dump(mode="json", include={"card", "sla", "rollout", "evidence"})
    return {"from": origin, **json.loads(json.dumps(rest))}


def _json(word: Any) -> bytes:
    return str(word.model_dump_json(indent=1)).encode() + b"\n"
