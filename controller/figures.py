"""What the database knows, as metrics: rollouts and their guards, aliases, health, replicas, jobs, notices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from controller.rows import latest_evidence
from controller.tables import AlertRow, Alias, Delivery, EvidenceRow, JobRow, Model, Replica, RolloutRow, Route
from serinus.evidence import Evidence
from serinus.exposition import Page, log_e
from serinus.metrics import VERDICT_CODES
from serinus.rollouts import ENDS, Phase

__all__ = ["fill", "guards_of"]


def fill(page: Page, session: Session, now: float) -> None:
    """`now`: Unix seconds. A few queries, and one for each model that ever had a rollout."""
    models = {row.name: row for row in session.scalars(select(Model).where(Model.deleted_at.is_(None)))}
    for alias in session.scalars(select(Alias).where(Alias.model.in_(models))):
        page.put("serinus_model_version", alias.version, alias.model, alias.alias)
    for row in _last_rollouts(session):
        if row.model in models:
            _rollout(page, session, row)
    ended = select(RolloutRow.model, RolloutRow.phase, func.count()).where(RolloutRow.phase.in_(ENDS))
    for model, phase, count in session.execute(ended.group_by(RolloutRow.model, RolloutRow.phase)):
        page.put("serinus_rollouts_ended_total", count, model, phase)
    _health(page, session)
    _replicas(page, session, models, now)
    jobs = select(JobRow.kind, JobRow.state, func.count()).group_by(JobRow.kind, JobRow.state)
    for kind, state, count in session.execute(jobs):
        page.put("serinus_jobs", count, kind, state)
    waiting = (Delivery.due_at.is_not(None), Delivery.delivered_at.is_(None))
    page.put("serinus_notices_pending", session.scalar(select(func.count()).select_from(Delivery).where(*waiting)))


def _last_rollouts(session: Session) -> list[RolloutRow]:
    """Of each model the one that goes on, else the one that began last; those in the queue have not begun."""
    begun = select(RolloutRow).where(RolloutRow.phase != Phase.QUEUED)
    rows: dict[str, RolloutRow] = {}
    for row in session.scalars(begun.order_by(RolloutRow.active_model.is_not(None), RolloutRow.started_at)):
        rows[row.model] = row
    return list(rows.values())


def _rollout(page: Page, session: Session, row: RolloutRow) -> None:
    model = row.model
    page.put("serinus_rollout_info", 1, model, row.id, row.candidate, row.baseline)
    for phase in Phase:
        page.put("serinus_rollout_phase", row.phase == phase, model, phase.value)
    page.put(
        "serinus_rollout_phase_since_timestamp_seconds", row.history[-1].at if row.history else row.started_at, model
    )
    page.put("serinus_rollout_canary_ratio", row.canary_bp / 10_000, model)
    page.put("serinus_rollout_shadow_ratio", row.shadow_bp / 10_000, model)
    look = latest_evidence(session, row.id)
    if look is None:
        return
    received = select(func.max(EvidenceRow.received_at)).where(EvidenceRow.rollout == row.id)
    page.put("serinus_evidence_timestamp_seconds", session.scalar(received), model)
    page.put("serinus_evidence_maturity_timestamp_seconds", look.watermark_ms / 1000, model)
    page.put("serinus_rollout_log_e_value", log_e(look.e), model)
    page.put("serinus_rollout_log_e_threshold", log_e(look.limit), model)
    page.put("serinus_rollout_held", bool(look.holds) and row.phase not in ENDS, model)
    guards_of(page, look)


def guards_of(page: Page, look: Evidence) -> None:
    """Eight series a guard."""
    for cell in look.cells:
        at = (look.model, cell.stream, cell.task, cell.slice, cell.metric)
        page.put("serinus_guard_estimate", cell.estimate, *at)
        page.put("serinus_guard_interval_low", cell.low, *at)
        page.put("serinus_guard_interval_high", cell.high, *at)
        page.put("serinus_guard_margin", cell.margin, *at)
        page.put("serinus_guard_log_e_value", log_e(cell.e_violated), *at)
        page.put("serinus_guard_verdict", VERDICT_CODES[cell.verdict], *at)
        page.put("serinus_guard_labels_used", cell.labels, *at)
        page.put("serinus_guard_labels_missing", cell.needs, *at)


def _health(page: Page, session: Session) -> None:
    for row in session.scalars(select(AlertRow).where(AlertRow.active.is_not(None))):
        alert = row.body
        check = f"{alert.kind}:{alert.input}" if alert.input else alert.kind
        page.put("serinus_health_finding", 1, alert.model, alert.task or "", alert.slice or "", check)


def _replicas(page: Page, session: Session, models: Mapping[str, Model], now: float) -> None:
    epochs = session.execute(select(Route.model, Route.epoch)).tuples().all()
    rows = session.scalars(select(Replica)).all()
    states: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        states[row.pool, row.role, "live"] += row.expires_at > now
        states[row.pool, row.role, "lost"] += row.expires_at <= now
    for (pool, role, state), count in states.items():
        page.put("serinus_replicas", count, pool, role, state)
    for model, epoch in epochs:
        if model in models:
            live = [row for row in rows if row.pool == models[model].pool and row.expires_at > now]
            page.put("serinus_replicas_behind", sum(row.applied.get(model, 0) < epoch for row in live), model)
