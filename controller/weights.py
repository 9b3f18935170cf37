"""Ranking weights: task -> exponent of its probability in a score. Numbered, kept, in force without a new version."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from controller.rows import lock_model
from controller.tables import Model, RankingWeights, Version
from serinus.errors import BadInput
from serinus.routes import Weights

__all__ = ["current_weights", "put_weights", "weights_history"]


def current_weights(session: Session, model: str) -> Weights:
    """What counts now; {} when none were ever set (or they were taken back): every task counts once."""
    newest = (
        select(RankingWeights.weights)
        .where(RankingWeights.model == model)
        .order_by(RankingWeights.number.desc())
        .limit(1)
    )
    return session.scalar(newest) or {}


def weights_history(session: Session, model: str, limit: int) -> list[RankingWeights]:
    """The newest first."""
    rows = select(RankingWeights).where(RankingWeights.model == model)
    return list(session.scalars(rows.order_by(RankingWeights.number.desc()).limit(limit)))


def put_weights(session: Session, name: str, weights: Weights, *, reason: str, actor: str, now: float) -> Model:
    """Set all weights of a model, with the next number; the same ones again change nothing. Gives the locked model.

    Raises NotFound, BadInput for a task that neither its SLA nor any of its versions has."""
    model = lock_model(session, name)
    if unknown := weights.keys() - _tasks(session, model):
        raise BadInput(
            f"{min(unknown)!r} is a task of no version of {name}", f"its tasks are {sorted(_tasks(session, model))}"
        )
    newest = weights_history(session, name, limit=1)
    if (newest[0].weights if newest else {}) != weights:
        number = newest[0].number + 1 if newest else 1
        session.add(RankingWeights(model=name, number=number, weights=weights, reason=reason, actor=actor, at=now))
        session.flush()
    return model


def _tasks(session: Session, model: Model) -> set[str]:
    versions = session.scalars(select(Version).where(Version.model == model.name))
    return {*model.sla.tasks, *(task for version in versions for task in version.manifest.task_names)}
