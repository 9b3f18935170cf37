"""Aliases of a model: where they point, who moved them, and those of people."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from controller.aliases import drop_alias, set_alias
from controller.etags import IfMatch, require, tell
from controller.paging import Key, Page, Paged, page_of
from controller.registry import alias_of
from controller.registry_words import AliasBody, Aliases
from controller.rows import lock_model, model_of
from controller.services import Engineering, Used, Viewing
from controller.tables import Alias, AliasMove
from controller.views import alias_view
from controller.words import AliasView, Reason
from serinus.tasks import Name

__all__ = ["router"]

router = APIRouter(prefix="/v1/models/{model}/aliases", tags=["aliases"])


@router.get("")
def get(model: Name, services: Used, _caller: Viewing, response: Response) -> Aliases:
    """Where every alias points now."""
    with services.db.read() as session:
        model_of(session, model)
        found = _aliases(session, model)
        tell(response, found.aliases)
        return found


@router.get("/history")
def history(model: Name, services: Used, _caller: Viewing, paged: Paged) -> Page[AliasView]:
    """Every move of every alias, the newest first."""
    with services.db.read() as session:
        model_of(session, model)
        query = select(AliasMove).where(AliasMove.model == model)
        return page_of(session, query, [Key(AliasMove.id, falling=True)], paged, alias_view)


@router.put("/{alias}")
def put(
    model: Name, *, alias: Name, body: AliasBody, services: Used, caller: Engineering, if_match: IfMatch = None
) -> Aliases:
    """Let an alias of your own name a version. `stable` and `previous` are moved by promotions and rollbacks only."""
    with services.db.write() as session:
        lock_model(session, model)
        require(if_match, *_state(session, model))
        now = services.clock()
        set_alias(session, model, alias, body.version, reason=body.reason, actor=caller.name, now=now)
        return _aliases(session, model)


@router.delete("/{alias}", status_code=204)
def delete(
    model: Name,
    *,
    alias: Name,
    services: Used,
    caller: Engineering,
    if_match: IfMatch = None,
    reason: Annotated[Reason, Query()] = "",
) -> None:
    """Take an alias of your own away."""
    with services.db.write() as session:
        lock_model(session, model)
        require(if_match, *(_state(session, model) if alias_of(session, model, alias) is not None else ()))
        drop_alias(session, model, alias, reason=reason, actor=caller.name, now=services.clock())


def _state(session: Session, model: str) -> tuple[dict[str, int]]:
    return (_aliases(session, model).aliases,)


def _aliases(session: Session, model: str) -> Aliases:
    rows = session.scalars(select(Alias).where(Alias.model == model).order_by(Alias.alias))
    return Aliases(model=model, aliases={row.alias: row.version for row in rows})
