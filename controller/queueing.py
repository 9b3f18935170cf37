"""The queue behind a model's rollout: who is in it, in which order, and whether the next one still makes sense."""

from __future__ import annotations

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from controller.registry import check_comparable, check_covers, version_of
from controller.rollouts import Rollout
from controller.signatures import unsigned
from controller.tables import Model, RolloutRow
from serinus.errors import AlreadyActive, InvalidPackage
from serinus.rollouts import Phase

__all__ = ["before", "last_place", "turns", "unfit"]

MOST_QUEUED = 50
"""Rollouts of one model that wait for their turn."""


def before(session: Session, rollout: Rollout) -> tuple[str, ...]:
    """Ids of the rollouts that go before a queued one: the one that goes on, then those queued earlier."""
    earlier = (RolloutRow.phase == Phase.QUEUED) & (RolloutRow.place < rollout.place)
    query = (
        select(RolloutRow.id)
        .where(RolloutRow.model == rollout.model, or_(RolloutRow.active_model.is_not(None), earlier))
        .order_by(RolloutRow.active_model.is_(None), RolloutRow.place)
    )
    return tuple(session.scalars(query))


def last_place(session: Session, model: str, version: int) -> int:
    """A place behind all others. Raises AlreadyActive when that version is on its way, or the queue is full."""
    waiting = (RolloutRow.active_model == model) | (RolloutRow.phase == Phase.QUEUED)
    rows = session.execute(select(RolloutRow.id, RolloutRow.candidate).where(RolloutRow.model == model, waiting)).all()
    if known := [rollout for rollout, candidate in rows if candidate == version]:
        raise AlreadyActive(
            f"rollout {known[0]} is of version {version} of {model} already", "let it go on, or abort it"
        )
    if len(rows) >= MOST_QUEUED:
        raise AlreadyActive(f"{len(rows)} rollouts of {model} go on or wait", "abort some of them first")
    return (session.scalar(select(func.max(RolloutRow.place)).where(RolloutRow.model == model)) or 0) + 1


def turns(session: Session) -> list[str]:
    """Ids of queued rollouts of models of which none goes on, in their order."""
    busy = select(RolloutRow.active_model).where(RolloutRow.active_model.is_not(None))
    query = select(RolloutRow.id).where(RolloutRow.phase == Phase.QUEUED, RolloutRow.model.not_in(busy))
    return list(session.scalars(query.order_by(RolloutRow.model, RolloutRow.place)))


def unfit(session: Session, model: Model, stable: int | None, candidate: int) -> str:
    """Why the candidate cannot be compared with what is stable now; "" when it can."""
    if stable is None or stable == candidate:
        return ""
    manifest = version_of(session, model.name, candidate).manifest
    try:
        check_covers(model.sla, manifest)
        check_comparable(model.sla, version_of(session, model.name, stable).manifest, manifest)
    except InvalidPackage as error:
        return error.detail
    return unsigned(session, model, version_of(session, model.name, candidate).digest)
