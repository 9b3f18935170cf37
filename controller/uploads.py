"""Uploads in pieces: begun with the size and the digest of the whole, gone on with after any break, finished once."""

from __future__ import annotations

import uuid

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from controller.rows import model_of
from controller.tables import UploadRow
from serinus.errors import NotFound, Overloaded
from serinus.signing import Signature

__all__ = ["LIFE_S", "begin", "finished", "upload_of"]

LIFE_S = 86_400.0
"""Wall seconds after which an upload that was not gone on with is garbage."""
MAX_OPEN = 100


def begin(
    session: Session,
    model: str,
    digest: str,
    size_bytes: int,
    *,
    signatures: tuple[Signature, ...],
    actor: str,
    now: float,
) -> UploadRow:
    """A new upload, or the one of the same bytes by the same caller that goes on. Raises NotFound, Overloaded."""
    model_of(session, model)
    same = (UploadRow.model == model, UploadRow.digest == digest, UploadRow.size_bytes == size_bytes)
    query = select(UploadRow).where(*same, UploadRow.actor == actor, UploadRow.expires_at > now)
    if (known := session.scalars(query.order_by(UploadRow.created_at).limit(1)).one_or_none()) is not None:
        known.expires_at, known.signatures = now + LIFE_S, signatures or known.signatures
        return known
    if (session.scalar(select(func.count()).select_from(UploadRow).where(UploadRow.version.is_(None))) or 0) > MAX_OPEN:
        raise Overloaded(f"{MAX_OPEN} uploads go on already", "finish some, or wait until they expire")
    told = {"model": model, "digest": digest, "size_bytes": size_bytes, "signatures": signatures, "actor": actor}
    times = {"created_at": now, "expires_at": now + LIFE_S}
    row = UploadRow(id=uuid.uuid4().hex, **told, **times, version=None, package=None)
    session.add(row)
    session.flush()
    return row


def upload_of(session: Session, upload: str, actor: str, now: float) -> UploadRow:
    """Raises NotFound: also when it is somebody else's, or has expired."""
    row = session.get(UploadRow, upload)
    if row is None or row.actor != actor or row.expires_at <= now:
        raise NotFound(f"there is no upload {upload!r}", "begin it again: the same bytes go on where they stand")
    return row


def finished(session: Session, upload: str, version: int, package: str) -> None:
    """Keep what it became, for a caller that did not get the answer."""
    row = session.get(UploadRow, upload)
    if row is not None:
        row.version, row.package = version, package
