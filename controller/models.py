"""A model as people set it: its SLA, its pool, and by whom its versions must be signed."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from controller.audit import audit
from controller.auth import Caller
from controller.registry import put_model
from controller.rows import lock_model
from controller.signatures import key_of
from controller.slas import model_tag, sla_in_force
from controller.tables import Model
from serinus.errors import NotAllowed, NotFound
from serinus.sla import Sla

__all__ = ["save", "tag_of"]


def tag_of(session: Session, name: str) -> tuple[Any, ...]:
    """What a write could overwrite; () where there is no such model. Locks it."""
    try:
        return model_tag(session, lock_model(session, name))
    except NotFound:
        return ()


def save(
    session: Session,
    sla: Sla,
    pool: str,
    *,
    signed_by: tuple[str, ...] | None,
    reason: str,
    caller: Caller,
    now: float,
) -> Model:
    """Create the model, or change it. `signed_by`: None leaves the rule as it is; only an admin changes it.

    Raises InvalidSla, NotAllowed, NotFound for a key that is not known."""
    before = tag_of(session, sla.model)
    if signed_by is not None:
        signed_by = tuple(dict.fromkeys(signed_by))
        if signed_by != (before[2] if before else ()) and caller.role != "admin":
            raise NotAllowed("only an admin says by whom versions must be signed", "leave `signed_by` out")
        for name in signed_by:
            key_of(session, name)
    row = put_model(session, sla, pool, now, signed_by=signed_by, reason=reason, actor=caller.name)
    session.flush()
    after = model_tag(session, row)
    if before != after:
        number = sla_in_force(session, sla.model).number
        detail = {"sla": number, "pool": pool, "signed_by": list(row.signed_by), "reason": reason}
        action = "model.change" if before else "model.create"
        audit(session, actor=caller.name, action=action, subject=f"models/{sla.model}", detail=detail, now=now)
    return row
