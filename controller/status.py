"""All that goes on, read with a few queries however many models there are."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from controller import leases
from controller.auth import Role
from controller.facts import read_facts
from controller.gates import FRESH_S, waits_for
from controller.glance import shared_facts
from controller.rows import as_rollout, report_of
from controller.status_words import (
    AlertLine,
    ModelLine,
    MonitorView,
    ReplicaView,
    RolloutLine,
    Status,
    Undelivered,
)
from controller.tables import AlertRow, Alias, Delivery, Model, Monitor, NoticeRow, Replica, RolloutRow, Route
from serinus.rollouts import ENDS

__all__ = ["status_of"]

MOST_ALERTS = 200


def status_of(session: Session, now: float, *, acting: bool, you: Role) -> Status:
    """`now`: Unix seconds. `acting`, `you`: of the process that answers, and of who asks."""
    lasting = select(AlertRow).where(AlertRow.active.is_not(None))
    alerts = session.scalars(lasting.order_by(AlertRow.raised_at.desc(), AlertRow.id.desc()).limit(MOST_ALERTS))
    return Status(
        models=_models(session),
        rollouts=_rollouts(session, now),
        replicas=_replicas(session, now),
        monitors=tuple(
            MonitorView(monitor=row.name, seen_at=row.seen_at, live=now - row.seen_at <= FRESH_S)
            for row in session.scalars(select(Monitor).order_by(Monitor.name))
        ),
        acting=acting,
        you=you,
        now=now,
        lease_until=leases.until(session),
        alerts=tuple(AlertLine(alert=row.body, raised_at=row.raised_at) for row in alerts),
        alerts_in_all=session.scalar(select(func.count()).select_from(lasting.subquery())) or 0,
        notices=_notices(session),
    )


def _models(session: Session) -> tuple[ModelLine, ...]:
    """Without their SLAs: to read a thousand of them would take longer than all the rest."""
    columns = select(Model.name, Model.pool, Model.watermark_ms).where(Model.deleted_at.is_(None)).order_by(Model.name)
    aliases: dict[str, dict[str, int]] = {}
    for alias in session.scalars(select(Alias)):
        aliases.setdefault(alias.model, {})[alias.alias] = alias.version
    epochs = dict(session.execute(select(Route.model, Route.epoch)).tuples().all())
    running = select(RolloutRow.active_model, RolloutRow.id).where(RolloutRow.active_model.is_not(None))
    active = dict(session.execute(running).tuples().all())
    return tuple(
        ModelLine(
            model=name,
            pool=pool,
            aliases=aliases.get(name, {}),
            epoch=epochs.get(name),
            rollout=active.get(name),
            watermark_ms=watermark_ms,
        )
        for name, pool, watermark_ms in session.execute(columns).tuples()
    )


def _rollouts(session: Session, now: float) -> tuple[RolloutLine, ...]:
    """Those that have not ended, queued ones as well, the oldest first."""
    order = RolloutRow.active_model.is_(None), RolloutRow.started_at, RolloutRow.id
    rows = list(session.scalars(select(RolloutRow).where(RolloutRow.phase.not_in(ENDS)).order_by(*order)))
    alive = select(Model).where(Model.name.in_({row.model for row in rows}), Model.deleted_at.is_(None))
    models = {model.name: model for model in session.scalars(alive)}
    shared = shared_facts(session, {model.pool for model in models.values()}, now)
    lines = []
    for row in rows:
        if row.model not in models:
            continue
        rollout = as_rollout(row)
        facts = read_facts(session, models[row.model], rollout, now, shared=shared)
        lines.append(
            RolloutLine(
                id=row.id,
                model=row.model,
                candidate=row.candidate,
                baseline=row.baseline,
                phase=rollout.phase,
                step=row.step,
                canary_bp=row.canary_bp,
                verdict=row.verdict,
                waiting_for=waits_for(rollout, facts, now) or "nothing: it goes on at once",
                history=row.history[-1:],
                look=facts.evidence.verdict if facts.evidence else None,
                holds=facts.evidence.holds if facts.evidence else (),
            )
        )
    return tuple(lines)


def _replicas(session: Session, now: float) -> tuple[ReplicaView, ...]:
    rows = session.scalars(select(Replica).order_by(Replica.pool, Replica.role, Replica.replica))
    return tuple(
        ReplicaView(
            pool=row.pool,
            seen_at=row.seen_at,
            live=row.expires_at > now,
            **report_of(row).model_dump(exclude={"number"}),
        )
        for row in rows
    )


def _notices(session: Session) -> Undelivered:
    waiting = Delivery.due_at.is_not(None) & Delivery.delivered_at.is_(None)
    count, failing, said = session.execute(
        select(
            func.count(),
            func.count().filter(Delivery.attempts > 0),
            func.max(Delivery.said),
        ).where(waiting)
    ).one()
    oldest = session.scalar(
        select(func.min(NoticeRow.at)).join(Delivery, Delivery.notice == NoticeRow.number).where(waiting)
    )
    return Undelivered(count=count, failing=failing, oldest_at=oldest, said=said or "")
