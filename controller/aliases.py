"""Aliases of people, beside `stable` and `previous`, which only promotions and rollbacks move."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from controller.audit import audit
from controller.registry import alias_of, point, version_of
from controller.rows import lock_model
from controller.tables import Alias
from serinus.errors import BadInput, NotAllowed, NotFound

__all__ = ["RESERVED", "drop_alias", "set_alias"]

RESERVED = ("stable", "previous")
MAX_ALIASES = 100


def set_alias(
    session: Session, model: str, alias: str, version: int, *, reason: str, actor: str, now: float
) -> int | None:
    """Let it name that version: the one that it named before. Raises NotFound, NotAllowed, BadInput."""
    _own(alias)
    lock_model(session, model)
    version_of(session, model, version)
    was = alias_of(session, model, alias)
    count = session.scalar(select(func.count()).select_from(Alias).where(Alias.model == model)) or 0
    if was is None and count >= MAX_ALIASES:
        raise BadInput(f"{model} has {count} aliases already", "delete some of them first")
    if was != version:
        point(session, model, alias, version, why=reason, actor=actor, now=now, rollout=None)
        _told(
            session, "alias.set", model, alias, {"was": was, "version": version, "reason": reason}, actor=actor, now=now
        )
    return was


def drop_alias(session: Session, model: str, alias: str, *, reason: str, actor: str, now: float) -> None:
    """Raises NotFound, NotAllowed."""
    _own(alias)
    lock_model(session, model)
    was = alias_of(session, model, alias)
    if was is None:
        raise NotFound(f"model {model!r} has no alias {alias!r}")
    point(session, model, alias, None, why=reason, actor=actor, now=now, rollout=None)
    _told(session, "alias.delete", model, alias, {"was": was, "reason": reason}, actor=actor, now=now)


def _own(alias: str) -> None:
    if alias in RESERVED:
        raise NotAllowed(f"{alias!r} is moved by promotions and rollbacks only", "`serinus promote`, or a rollout")


def _told(
    session: Session, action: str, model: str, alias: str, detail: dict[str, object], *, actor: str, now: float
) -> None:
    audit(session, actor=actor, action=action, subject=f"models/{model}/aliases/{alias}", detail=detail, now=now)
