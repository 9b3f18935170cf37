"""The SLAs that a model had: numbered like versions, never changed, the last one in force."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from controller.tables import Model, SlaRow
from serinus.sla import Sla

__all__ = ["add_sla", "model_tag", "sla_in_force"]


def add_sla(session: Session, sla: Sla, *, reason: str, actor: str, now: float) -> int:
    """Give this SLA the model's next number. Lock the model first."""
    number = (session.scalar(select(func.max(SlaRow.number)).where(SlaRow.model == sla.model)) or 0) + 1
    session.add(SlaRow(model=sla.model, number=number, sla=sla, reason=reason, actor=actor, at=now))
    session.flush()
    return number


def sla_in_force(session: Session, model: str) -> SlaRow:
    """Every model has one."""
    newest = select(SlaRow).where(SlaRow.model == model).order_by(SlaRow.number.desc()).limit(1)
    return session.scalars(newest).one()


def model_tag(session: Session, model: Model) -> tuple[Any, ...]:
    """What a write of the model could overwrite: its SLA, its pool, and who must sign."""
    return sla_in_force(session, model.name).number, model.pool, model.signed_by
