"""The facts that a decision needs, read from the database."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from controller import leases
from controller.preflight_jobs import preflight_of
from controller.queueing import before, unfit
from controller.registry import alias_of
from controller.rollouts import Ask, Facts, Rollout
from controller.rows import latest_evidence, live_replicas
from controller.signatures import unsigned
from controller.tables import Model, Monitor
from serinus.rollouts import Phase
from serinus.routes import ReplicaReport

__all__ = ["Shared", "read_facts"]


@dataclass(frozen=True, slots=True)
class Shared:
    """Facts that many rollouts have in common, read once for all of them. `replicas`: of each pool, that are live."""

    replicas: dict[str, tuple[ReplicaReport, ...]]
    monitor_seen_at: float | None
    dead_s: float


def read_facts(
    session: Session,
    model: Model,
    rollout: Rollout,
    now: float,
    *,
    ask: Ask | None = None,
    shared: Shared | None = None,
) -> Facts:
    if rollout.phase is Phase.QUEUED:
        return _of_the_queue(session, model, rollout, Facts(watermark_ms=model.watermark_ms, ask=ask))
    preflight, replay = preflight_of(session, rollout)
    return Facts(
        evidence=latest_evidence(session, rollout.id),
        preflight=preflight,
        replay=replay,
        watermark_ms=model.watermark_ms,
        replicas=shared.replicas[model.pool] if shared else live_replicas(session, model.pool, now),
        monitor_seen_at=shared.monitor_seen_at if shared else session.scalar(select(func.max(Monitor.seen_at))),
        ask=ask,
        windows=model.sla.rollout.windows,
        dead_s=shared.dead_s if shared else leases.dead_s(session),
        unsigned=unsigned(session, model, rollout.candidate_digest),
    )


def _of_the_queue(session: Session, model: Model, rollout: Rollout, facts: Facts) -> Facts:
    behind = before(session, rollout)
    if behind:
        return replace(facts, behind=behind)
    stable = alias_of(session, model.name, "stable")
    return replace(facts, stable=stable, unfit=unfit(session, model, stable, rollout.candidate))
