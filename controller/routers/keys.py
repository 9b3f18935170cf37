"""The public keys by which packages may be signed."""

from __future__ import annotations

from fastapi import APIRouter, Response
from sqlalchemy import select

from controller.paging import Key, Page, Paged, page_of
from controller.registry_words import KeyBody, KeyView
from controller.services import Admin, Used, Viewing
from controller.signatures import key_of, put_key, revoke
from controller.tables import KeyRow
from serinus.tasks import Name

__all__ = ["router"]

router = APIRouter(prefix="/v1/keys", tags=["keys"])


@router.get("")
def list_keys(services: Used, _caller: Viewing, paged: Paged) -> Page[KeyView]:
    """All keys by name, also those that were revoked."""
    with services.db.read() as session:
        return page_of(session, select(KeyRow), [Key(KeyRow.name)], paged, _view)


@router.get("/{name}")
def get(name: Name, services: Used, _caller: Viewing) -> KeyView:
    """A public key, also one that counts no more."""
    with services.db.read() as session:
        return _view(key_of(session, name))


@router.put("/{name}")
def put(name: Name, body: KeyBody, services: Used, caller: Admin, response: Response) -> KeyView:
    """Let packages be signed by this Ed25519 public key. A name means one key for ever."""
    with services.db.write() as session:
        key, created = put_key(session, name, body.public_key, actor=caller.name, now=services.clock())
        response.status_code = 201 if created else 200
        return _view(key)


@router.delete("/{name}", status_code=204)
def delete(name: Name, services: Used, caller: Admin) -> None:
    """Revoke the key: what it has signed counts no more. What is stable stays, what goes on is not promoted."""
    with services.db.write() as session:
        revoke(session, name, actor=caller.name, now=services.clock())


def _view(row: KeyRow) -> KeyView:
    return KeyView(
        name=row.name,
        public=row.public,
        fingerprint=row.fingerprint,
        created_at=row.created_at,
        created_by=row.created_by,
        revoked_at=row.revoked_at,
        revoked_by=row.revoked_by,
    )
