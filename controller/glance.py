"""Which rollouts a step would change now: found by reading alone, so that a round in which nothing happens is cheap.

What comes of it is only a hint: the step itself reads the facts again, in its own transaction."""

from __future__ import annotations

import logging
from collections.abc import Collection

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from controller import leases
from controller.decide import decide
from controller.facts import Shared, read_facts
from controller.rows import as_rollout, live_replicas
from controller.tables import Model, Monitor, RolloutRow

__all__ = ["shared_facts", "stirred"]

log = logging.getLogger(__name__)


def stirred(session: Session, now: float, models: Collection[str] | None = None) -> list[str]:
    """Ids of the rollouts that go on and would change, the oldest first; `models`: of these only.

    One in its preflight is always among them: its job is looked after by the step."""
    query = select(RolloutRow).where(RolloutRow.active_model.is_not(None)).order_by(RolloutRow.started_at)
    if models is not None:
        query = query.where(RolloutRow.active_model.in_(models))
    rows = list(session.scalars(query))
    if not rows:
        return []
    known = {each.name: each for each in session.scalars(select(Model).where(Model.name.in_({r.model for r in rows})))}
    shared = shared_facts(session, {model.pool for model in known.values()}, now)
    return [row.id for row in rows if _would_change(session, known[row.model], row, shared, now)]


def shared_facts(session: Session, pools: Collection[str], now: float) -> Shared:
    """What the rollouts of these pools have in common."""
    return Shared(
        replicas={pool: live_replicas(session, pool, now) for pool in pools},
        monitor_seen_at=session.scalar(select(func.max(Monitor.seen_at))),
        dead_s=leases.dead_s(session),
    )


def _would_change(session: Session, model: Model, row: RolloutRow, shared: Shared, now: float) -> bool:
    rollout = as_rollout(row)
    if rollout.in_preflight:
        return True
    try:
        after, actions = decide(rollout, read_facts(session, model, rollout, now, shared=shared), now)
    except (ValueError, TypeError, ArithmeticError, LookupError, AssertionError):
        log.exception("rollout %s cannot be decided", row.id)
        return True  # the step says why, and the others go on
    return after != rollout or bool(actions)
