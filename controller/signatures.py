"""Who may answer for packages: public keys, signatures, and the rule that a version must be signed."""

from __future__ import annotations

import base64
from collections.abc import Iterable

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from controller.audit import audit
from controller.database import upsert
from controller.tables import KeyRow, Model, SignatureRow
from serinus.errors import BadInput, BadSignature, NotFound, SerinusError, Stale, Unsigned
from serinus.signing import Signature, fingerprint, read_public, verify

__all__ = [
    "check_signatures",
    "check_signed",
    "keep_signatures",
    "key_of",
    "known_keys",
    "put_key",
    "revoke",
    "unsigned",
]

MAX_KEYS, MAX_SIGNATURES = 1_000, 16


def put_key(session: Session, name: str, public_key: str, *, actor: str, now: float) -> tuple[KeyRow, bool]:
    """(key, created). A name means one key for ever. Raises BadInput, Stale when either is taken."""
    public = read_public(public_key)
    known = session.get(KeyRow, name)
    if known is not None:
        if known.fingerprint == fingerprint(public) and known.revoked_at is None:
            return known, False
        what = "revoked" if known.revoked_at is not None else "another key"
        raise Stale(f"the name {name!r} is taken: {what}", "give the key a new name")
    taken = session.scalar(select(KeyRow.name).where(KeyRow.fingerprint == fingerprint(public)))
    if taken is not None:
        raise Stale(f"this key is known already, as {taken!r}", "use that name; a revoked key never comes back")
    if (session.scalar(select(func.count()).select_from(KeyRow)) or 0) >= MAX_KEYS:
        raise BadInput(f"there are {MAX_KEYS} keys already")
    told = {"public": base64.b64encode(public).decode(), "fingerprint": fingerprint(public)}
    key = KeyRow(name=name, **told, created_at=now, created_by=actor, revoked_at=None, revoked_by=None)
    session.add(key)
    session.flush()
    audit(
        session,
        actor=actor,
        action="key.add",
        subject=f"keys/{name}",
        detail={"fingerprint": key.fingerprint},
        now=now,
    )
    return key, True


def revoke(session: Session, name: str, *, actor: str, now: float) -> None:
    """What it has signed counts no more, from now on. Again: nothing. Raises NotFound."""
    key = session.scalars(select(KeyRow).where(KeyRow.name == name).with_for_update()).one_or_none()
    if key is None:
        raise NotFound(f"there is no key {name!r}")
    if key.revoked_at is None:
        key.revoked_at, key.revoked_by = now, actor
        detail = {"fingerprint": key.fingerprint}
        audit(session, actor=actor, action="key.revoke", subject=f"keys/{name}", detail=detail, now=now)


def key_of(session: Session, name: str) -> KeyRow:
    """Raises NotFound."""
    if (key := session.get(KeyRow, name)) is None:
        raise NotFound(f"there is no key {name!r}")
    return key


def known_keys(session: Session) -> dict[str, str]:
    """Fingerprint -> name, of the keys in force."""
    return {key.fingerprint: key.name for key in session.scalars(select(KeyRow).where(KeyRow.revoked_at.is_(None)))}


def check_signatures(session: Session, digest: str, signatures: Iterable[Signature]) -> dict[str, Signature]:
    """Fingerprint -> signature of that package. Raises BadSignature for one that is false, or by no key in force."""
    found = {}
    for signature in signatures:
        if signature.digest != digest:
            raise BadSignature(f"it signs {signature.digest[:12]}, not the package {digest[:12]}")
        key = session.scalars(select(KeyRow).where(KeyRow.fingerprint == signature.key)).one_or_none()
        if key is None or key.revoked_at is not None:
            why = "is not known" if key is None else f"({key.name}) was revoked"
            raise BadSignature(f"the key {signature.key[:12]} {why}", "an admin adds public keys: `PUT /v1/keys/NAME`")
        verify(signature, base64.b64decode(key.public))
        found[signature.key] = signature
    return found


def keep_signatures(
    session: Session, digest: str, signatures: Iterable[Signature], *, actor: str, now: float
) -> list[Signature]:
    """Those that are new. Raises BadSignature, BadInput beyond MAX_SIGNATURES."""
    checked = check_signatures(session, digest, signatures)
    known = set(session.scalars(select(SignatureRow.fingerprint).where(SignatureRow.digest == digest)))
    if len(known | checked.keys()) > MAX_SIGNATURES:
        raise BadInput(f"a package has at most {MAX_SIGNATURES} signatures")
    fresh = [signature for by, signature in checked.items() if by not in known]
    for signature in fresh:
        key = {"digest": digest, "fingerprint": signature.key}
        upsert(session, SignatureRow, key, {"body": signature, "actor": actor, "at": now}, first_stays=True)
    return fresh


def unsigned(session: Session, model: Model, digest: str, more: Iterable[Signature] = ()) -> str:
    """Why the package must not be rolled out for want of a signature; "" when it may. Signatures are verified anew.

    `more`: checked ones that are not kept yet."""
    if not model.signed_by:
        return ""
    rows = session.scalars(select(SignatureRow.body).where(SignatureRow.digest == digest))
    signatures = {signature.key: signature for signature in (*rows, *more)}
    keys = select(KeyRow).where(KeyRow.name.in_(model.signed_by), KeyRow.revoked_at.is_(None))
    for key in session.scalars(keys):
        signature = signatures.get(key.fingerprint)
        if signature is None or signature.digest != digest:
            continue
        try:
            verify(signature, base64.b64decode(key.public))
        except SerinusError:
            continue
        return ""
    return f"{model.name} takes only versions that are signed by one of {', '.join(model.signed_by)}"


def check_signed(session: Session, model: Model, digest: str, more: Iterable[Signature] = ()) -> None:
    """Raises Unsigned."""
    if why := unsigned(session, model, digest, more):
        raise Unsigned(f"{why}; the package {digest[:12]} has no such signature that is valid")
