"""Rows as the API shows them."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from controller.alerts import read_alerts
from controller.facts import read_facts
from controller.gates import waits_for
from controller.rows import as_rollout, model_of
from controller.tables import Alias, AliasMove, Model, Monitor, RolloutRow, Route
from controller.words import AlertView, AliasView, HealthView, ModelView
from serinus.rollouts import RolloutView

__all__ = ["alias_view", "health_view", "model_view", "rollout_view"]

MOST_MOVES = 100
"""Of its aliases, in the view of a model: the newest ones."""


def model_view(session: Session, model: Model) -> ModelView:
    moves = select(AliasMove).where(AliasMove.model == model.name).order_by(AliasMove.id.desc()).limit(MOST_MOVES)
    return ModelView(
        model=model.name,
        pool=model.pool,
        sla=model.sla,
        aliases={row.alias: row.version for row in session.scalars(select(Alias).where(Alias.model == model.name))},
        alias_history=tuple(alias_view(move) for move in reversed(session.scalars(moves).all())),
        epoch=session.scalar(select(Route.epoch).where(Route.model == model.name)),
        rollout=session.scalar(select(RolloutRow.id).where(RolloutRow.active_model == model.name)),
        watermark_ms=model.watermark_ms,
        signed_by=model.signed_by,
    )


def alias_view(move: AliasMove) -> AliasView:
    return AliasView(
        alias=move.alias,
        was=move.was,
        version=move.version,
        rollout=move.rollout,
        reason=move.reason,
        actor=move.actor,
        at=move.at,
    )


def health_view(session: Session, model: Model) -> HealthView:
    aliases = {row.alias: row.version for row in session.scalars(select(Alias).where(Alias.model == model.name))}
    return HealthView(
        model=model.name,
        stable=aliases.get("stable"),
        previous=aliases.get("previous"),
        looked_at=session.scalar(select(func.max(Monitor.seen_at))),
        alerts=tuple(
            AlertView(alert=row.body, raised_at=row.raised_at, seen_at=row.seen_at, resolved_at=row.resolved_at)
            for row in read_alerts(session, model.name)
        ),
    )


def rollout_view(session: Session, row: RolloutRow, now: float) -> RolloutView:
    rollout = as_rollout(row)
    told = {"reason": row.reason, "actor": row.actor, "key": row.key}
    if not rollout.active:
        return rollout.view("").model_copy(update=told)
    facts = read_facts(session, model_of(session, row.model), rollout, now)
    waiting = waits_for(rollout, facts, now) or "nothing: it goes on at once"
    return rollout.view(waiting, facts.behind).model_copy(update=told)
