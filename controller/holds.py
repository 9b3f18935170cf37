"""Between storing a package and naming it by a version nobody may remove it; and who removes it has it to himself.

A push holds the digest before it writes a file, and names it only while that hold, or a later one, was not followed by
a removal. A removal marks the digest first, in one transaction with the look at who names it. Both lock one row."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from controller.database import upsert
from controller.tables import PackageRow, Replica, Route, Version
from serinus.errors import Stale

__all__ = ["HOLD_S", "REMOVAL_S", "begin_removal", "confirm", "end_removal", "hold"]

HOLD_S = 3_600.0
"""Wall seconds for which a push may go on storing."""
REMOVAL_S = 900.0
"""Wall seconds after which somebody who removes a package's files counts as dead."""


def hold(session: Session, digest: str, now: float) -> None:
    """Raises Stale while its files are being removed."""
    row = _locked(session, digest)
    if row.removing_at is not None:
        if now - row.removing_at < REMOVAL_S:
            raise Stale(f"the package {digest[:12]} is being removed at this moment", "push it again in a minute")
        row.removing_at = None
    row.held_until = max(row.held_until, now + HOLD_S)


def confirm(session: Session, digest: str) -> None:
    """In the transaction that names it. Raises Stale when it was, or may be, removed since it was stored."""
    query = select(PackageRow).where(PackageRow.digest == digest).with_for_update()
    row = session.scalars(query).one_or_none()
    if row is None or row.removing_at is not None:
        raise Stale(f"storing the package {digest[:12]} took too long", "push it again")


def begin_removal(session: Session, digest: str, now: float) -> str:
    """Mark it as going: "" when its files may be removed now, else who needs them."""
    row = _locked(session, digest)
    query = select(Version.model, Version.number).where(Version.digest == digest, Version.deleted_at.is_(None))
    if (named := session.execute(query.limit(1)).first()) is not None:
        return f"version {named.number} of {named.model}"
    if row.held_until > now:
        return "a push"
    if row.removing_at is not None and now - row.removing_at < REMOVAL_S:
        return "a removal that goes on"
    if digest in _in_use(session, now):
        return "a route or a replica"
    row.removing_at = now
    return ""


def end_removal(session: Session, digest: str, began: float) -> None:
    """Its files are gone."""
    session.execute(delete(PackageRow).where(PackageRow.digest == digest, PackageRow.removing_at == began))


def _locked(session: Session, digest: str) -> PackageRow:
    upsert(session, PackageRow, {"digest": digest}, {"held_until": 0.0, "removing_at": None}, first_stays=True)
    query = select(PackageRow).where(PackageRow.digest == digest).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one()


def _in_use(session: Session, now: float) -> set[str]:
    """Digests that a route names or a live replica has loaded: no version should be missing for them, but if one is,
    its files are not taken from under it."""
    named = {ref.digest for table in session.scalars(select(Route.body)) for ref in table.packages.values()}
    loaded = session.scalars(select(Replica.loaded).where(Replica.expires_at > now))
    return named | {digest for digests in loaded for digest in digests}
