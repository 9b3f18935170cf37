"""What is known of a version, on one page."""

from __future__ import annotations

import base64
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from controller.audit import audit
from controller.registry import version_of
from controller.registry_words import CardView, ImportedFrom, LineageView, SignatureView
from controller.rows import lock_model, model_of
from controller.store import PackageStore
from controller.tables import Alias, KeyRow, SignatureRow, Version, VersionCardRow
from serinus.baseline import BASELINE, MAX_BASELINE_BYTES
from serinus.diff import Measured, Side, VersionDiff, diff_of, measured_of
from serinus.errors import InvalidPackage, SerinusError, Unavailable
from serinus.lineage import Lineage
from serinus.package import Manifest
from serinus.package_source import copy_file, manifest_at
from serinus.routes import PackageRef
from serinus.signing import verify

__all__ = ["card_of", "card_row", "card_tag", "compare", "edit_card", "locked_card", "signatures_of"]


def card_of(session: Session, store: PackageStore, model: str, number: int) -> CardView:
    """Raises NotFound."""
    model_of(session, model)
    version = version_of(session, model, number)
    row = card_row(session, model, number)
    aliases = select(Alias.alias).where(Alias.model == model, Alias.version == number).order_by(Alias.alias)
    return CardView(
        model=model,
        version=number,
        digest=version.digest,
        tasks=version.manifest.task_names,
        precision=version.manifest.precision,
        size_bytes=_bytes(version.manifest),
        resident_bytes=version.manifest.resident_bytes,
        lineage=_lineage(session, model, version, row),
        provenance=version.manifest.provenance,
        imported_from=ImportedFrom.model_validate(row.imported["from"]) if row.imported else None,
        tags=row.tags,
        notes=row.notes,
        metrics=_measured(store, version, row),
        signatures=signatures_of(session, version.digest),
        aliases=tuple(session.scalars(aliases)),
        created_at=version.created_at,
    )


def card_row(session: Session, model: str, number: int) -> VersionCardRow:
    """Of a version that there is."""
    row = session.get(VersionCardRow, (model, number))
    if row is None:
        told = {"created_by": "", "measured": None, "tags": (), "notes": "", "imported": None}
        row = VersionCardRow(model=model, number=number, **told)
    return row


def card_tag(row: VersionCardRow) -> tuple[Any, ...]:
    """What a write could overwrite."""
    return row.tags, row.notes


def edit_card(
    session: Session,
    row: VersionCardRow,
    *,
    tags: tuple[str, ...] | None,
    notes: str | None,
    actor: str,
    now: float,
) -> None:
    """Lock the model first. None: stays. Nothing else of a version ever changes."""
    was = {"tags": row.tags, "notes": row.notes}
    row.tags = row.tags if tags is None else tuple(dict.fromkeys(tags))
    row.notes = row.notes if notes is None else notes
    detail = {name: getattr(row, name) for name, before in was.items() if getattr(row, name) != before}
    if detail:
        session.add(row)
        session.flush()
        subject = f"models/{row.model}/versions/{row.number}"
        told = {name: list(value) if isinstance(value, tuple) else value for name, value in detail.items()}
        audit(session, actor=actor, action="version.edit", subject=subject, detail=told, now=now)


def compare(session: Session, store: PackageStore, model: str, old: int, new: int) -> VersionDiff:
    """Raises NotFound."""
    model_of(session, model)
    sides = []
    for number in (old, new):
        version = version_of(session, model, number)
        side = Side(
            version=number,
            digest=version.digest,
            size_bytes=_bytes(version.manifest),
            resident_bytes=version.manifest.resident_bytes,
            precision=version.manifest.precision,
            metrics=_measured(store, version, card_row(session, model, number)),
        )
        sides.append((side, version.manifest))
    return diff_of(model, sides[0], sides[1])


def signatures_of(session: Session, digest: str) -> tuple[SignatureView, ...]:
    """Each is verified anew: what the database says of it is not believed."""
    query = (
        select(SignatureRow).where(SignatureRow.digest == digest).order_by(SignatureRow.at, SignatureRow.fingerprint)
    )
    found = []
    for row in session.scalars(query):
        key = session.scalars(select(KeyRow).where(KeyRow.fingerprint == row.fingerprint)).one_or_none()
        why = "its key is not known" if key is None else "its key was revoked" if key.revoked_at is not None else ""
        try:
            if key is not None and not why:
                verify(row.body, base64.b64decode(key.public))
        except SerinusError as error:
            why = error.detail
        name = key.name if key else None
        told = {"key": name, "fingerprint": row.fingerprint, "good": not why, "why": why}
        found.append(SignatureView(**told, actor=row.actor, at=row.at))
    return tuple(found)


def locked_card(session: Session, model: str, number: int) -> VersionCardRow:
    """Raises NotFound."""
    lock_model(session, model)
    version_of(session, model, number)
    return card_row(session, model, number)


def _lineage(session: Session, model: str, version: Version, row: VersionCardRow) -> LineageView:
    told = Lineage.of(version.manifest.provenance)
    parent = select(Version.number).where(Version.model == model, Version.digest == told.parent)
    return LineageView(
        code_revision=told.code_revision,
        data_window=told.data_window,
        parent=session.scalar(parent) if told.parent else None,
        parent_digest=told.parent,
        created_by=row.created_by or None,
    )


def _measured(store: PackageStore, version: Version, row: VersionCardRow) -> Measured:
    """From the card; of a version from before cards, from its package. {} where that cannot be read."""
    if row.measured is not None:
        return row.measured
    try:
        source, manifest, _ = manifest_at(PackageRef(digest=version.digest, uri=store.shelf.uri(version.digest)))
        if manifest.files[BASELINE].size_bytes > MAX_BASELINE_BYTES:
            return {}
        with store.workspace() as work:
            copy_file(source, BASELINE, manifest.files[BASELINE], work / BASELINE)
            return measured_of((work / BASELINE).read_bytes())
    except (InvalidPackage, Unavailable, OSError):
        return {}


def _bytes(manifest: Manifest) -> int:
    return sum(entry.size_bytes for entry in manifest.files.values())
