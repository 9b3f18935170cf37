"""The facts that a decision needs, read from the database."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from controller.preflight_jobs import preflight_of
from controller.rollouts import Ask, Facts, Rollout
from controller.rows import latest_evidence, live_replicas
from controller.tables import Model, Monitor

__all__ = ["read_facts"]


def read_facts(session: Session, model: Model, rollout: Rollout, now: float, ask: Ask | None = None) -> Facts:
    preflight, replay = preflight_of(session, rollout)
    return Facts(
        evidence=latest_evidence(session, rollout.id),
        preflight=preflight,
        replay=replay,
        watermark_ms=model.watermark_ms,
        replicas=live_replicas(session, model.pool, now),
        monitor_seen_at=session.scalar(select(func.max(Monitor.seen_at))),
        ask=ask,
    )
