"""Deleting versions and models: refused while in use, and nothing that is over loses its history.

A deleted version's row stays without being seen, so that its number is never given to another package and `explain`
still knows what a rollout was about. Its files go when garbage is collected."""

from __future__ import annotations

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from controller.audit import audit
from controller.database import wakes
from controller.registry import point, version_of
from controller.rows import lock_model
from controller.tables import AlertRow, Alias, Model, Route, Version
from controller.usage import users_of_model, users_of_version
from serinus.errors import InUse

__all__ = ["delete_model", "delete_version"]


def delete_version(session: Session, name: str, number: int, *, reason: str, actor: str, now: float) -> None:
    """Raises NotFound, InUse that names the users."""
    model = lock_model(session, name)
    version = version_of(session, name, number)
    if users := users_of_version(session, model, version, now):
        raise InUse(f"version {number} of {name} is used by {_some(users)}")
    version.deleted_at = now
    detail = {"digest": version.digest, "reason": reason}
    audit(
        session,
        actor=actor,
        action="version.delete",
        subject=f"models/{name}/versions/{number}",
        detail=detail,
        now=now,
    )


def delete_model(session: Session, name: str, *, retire: bool, reason: str, actor: str, now: float) -> Model:
    """Delete a model with all its versions. `retire`: also one that serves; replicas drop it at once.

    Raises NotFound, InUse that names the users."""
    model = lock_model(session, name)
    if users := users_of_model(session, model, retire):
        raise InUse(f"model {name} is used by {_some(users)}")
    why = reason or "the model was deleted"
    for alias in session.scalars(select(Alias.alias).where(Alias.model == name)).all():
        point(session, name, alias, None, why=why, actor=actor, now=now, rollout=None)
    session.execute(delete(Route).where(Route.model == name))
    session.execute(update(Version).where(Version.model == name, Version.deleted_at.is_(None)).values(deleted_at=now))
    lasting = (AlertRow.model == name, AlertRow.active.is_not(None))
    session.execute(update(AlertRow).where(*lasting).values(active=None, resolved_at=now))
    model.deleted_at, model.warm = now, None
    session.flush()
    wakes(session, f"routes:{name}", f"pool:{model.pool}")
    detail = {"retire": retire, "reason": reason}
    audit(session, actor=actor, action="model.delete", subject=f"models/{name}", detail=detail, now=now)
    return model


def _some(users: list[str]) -> str:
    return ", ".join(users[:10]) + (f" and {len(users) - 10} more" if len(users) > 10 else "")
