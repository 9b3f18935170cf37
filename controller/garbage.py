"""Garbage: packages that no version names any more, and uploads that nobody went on with."""

from __future__ import annotations

import logging

from sqlalchemy import select

from controller.audit import audit
from controller.database import Database
from controller.holds import begin_removal, end_removal
from controller.store import PackageStore
from controller.tables import PackageRow, UploadRow, Version
from controller.uploads import LIFE_S
from serinus.tasks import Word

__all__ = ["Collected", "collect"]

log = logging.getLogger(__name__)


class Collected(Word):
    """`packages`: digests that were removed (`dry_run`: would be). `kept`: digest -> who needs what no version names.

    `uploads`: ids. `more`: there may be more than one call takes."""

    dry_run: bool
    packages: tuple[str, ...]
    kept: dict[str, str]
    uploads: tuple[str, ...]
    more: bool


MOST = 1_000


def collect(db: Database, store: PackageStore, now: float, *, dry_run: bool, actor: str) -> Collected:
    """Safe beside pushes, other collections and a kill at any moment: what one leaves half done the next one ends."""
    with db.read() as session:
        named = set(session.scalars(select(Version.digest).where(Version.deleted_at.is_(None)).distinct()))
        known = set(session.scalars(select(PackageRow.digest)))
    candidates = sorted((store.shelf.digests() | known) - named)
    removed, kept = [], {}
    for digest in candidates[:MOST]:
        why = _remove(db, store, digest, now, dry_run=dry_run)
        if why:
            kept[digest] = why
        else:
            removed.append(digest)
    uploads = _uploads(db, store, now, dry_run)
    if not dry_run and (removed or uploads):
        detail = {"packages": removed, "uploads": uploads}
        with db.write() as session:
            audit(session, actor=actor, action="garbage.collect", subject="packages", detail=detail, now=now)
    more = len(candidates) > MOST
    return Collected(dry_run=dry_run, packages=tuple(removed), kept=kept, uploads=tuple(uploads), more=more)


def _remove(db: Database, store: PackageStore, digest: str, now: float, *, dry_run: bool) -> str:
    with db.write() as session:
        why = begin_removal(session, digest, now)
        if dry_run:
            session.rollback()
    if not why and not dry_run:
        store.shelf.remove(digest)
        with db.write() as session:
            end_removal(session, digest, now)
        log.info("package %s was removed: no version names it", digest)
    return why


def _uploads(db: Database, store: PackageStore, now: float, dry_run: bool) -> list[str]:
    """Those that have expired, and files of uploads that nobody knows of."""
    with db.write() as session:
        known = set(session.scalars(select(UploadRow.id)))
        old = list(session.scalars(select(UploadRow).where(UploadRow.expires_at <= now).limit(MOST)))
        lost = [upload for upload in store.spool.ids() - known if store.spool.age_s(upload, now) > LIFE_S]
        found = sorted({*(row.id for row in old), *lost})
        if not dry_run:
            for row in old:
                session.delete(row)
    if not dry_run:
        for upload in found:
            store.spool.remove(upload)
    return found
