"""Tokens: made, listed, revoked; and whose one is."""

from __future__ import annotations

from fastapi import APIRouter, Response
from sqlalchemy import select

from controller.access_words import TokenBody, TokenMade, TokenView
from controller.auth import Caller
from controller.paging import Key, Page, Paged, page_of
from controller.services import Admin, Used, Viewing
from controller.tables import Token
from controller.tokens import make_token, revoke_token

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["access"])


@router.get("/me")
def me(caller: Viewing) -> Caller:
    """Whose token this is, and what it may do."""
    return caller


@router.get("/tokens")
def list_tokens(services: Used, _caller: Admin, paged: Paged) -> Page[TokenView]:
    """Every token that is known, by name; never the tokens themselves."""
    with services.db.read() as session:
        return page_of(session, select(Token), [Key(Token.name)], paged, _view)


@router.post("/tokens", status_code=201)
def make(body: TokenBody, services: Used, caller: Admin, response: Response) -> TokenMade:
    """Make a token. It is in this answer and nowhere else: only its hash is kept."""
    now = services.clock()
    expires_at = None if body.expires_s is None else now + body.expires_s
    with services.db.write() as session:
        token = make_token(session, body.name, body.role, expires_at=expires_at, actor=caller.name, now=now)
        session.flush()
        view = _view(session.get_one(Token, body.name))
    response.headers["Cache-Control"] = "no-store"
    return TokenMade(**view.model_dump(), token=token)


@router.delete("/tokens/{name}", status_code=204)
def revoke(name: str, services: Used, caller: Admin) -> None:
    """From now on the token opens nothing. The last admin's that does not expire cannot be revoked (409)."""
    with services.db.write() as session:
        revoke_token(session, name, actor=caller.name, now=services.clock())


def _view(row: Token) -> TokenView:
    return TokenView.model_validate({name: getattr(row, name) for name in TokenView.model_fields})
