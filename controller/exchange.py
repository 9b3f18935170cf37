"""What monitors bring is kept, and what they should look at."""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from controller.alerts import keep_alerts
from controller.database import upsert, wakes
from controller.items import item_of, watched
from controller.looks import keep_look
from controller.routes import UriOf
from controller.tables import EvidenceRow, Model, Monitor, RolloutRow
from serinus.evidence import Evidence, MonitorReport, MonitorWork
from serinus.rollouts import Phase

__all__ = ["keep", "work"]

log = logging.getLogger(__name__)
WATCHED = frozenset({Phase.SHADOW, Phase.CANARY, Phase.RAMP, Phase.BAKE, Phase.PAUSED, Phase.AWAITING_APPROVAL})


def keep(session: Session, report: MonitorReport, now: float) -> None:
    """Keep the first evidence of each tick, and the farthest watermarks. Evidence that nobody asked for is ignored."""
    upsert(session, Monitor, {"name": report.monitor}, {"seen_at": now})
    changed = set()
    for name, watermark in sorted(report.watermarks_ms.items()):  # in order: two monitors may report at once
        behind = or_(Model.watermark_ms.is_(None), Model.watermark_ms < watermark)
        done: Any = session.execute(update(Model).where(Model.name == name, behind).values(watermark_ms=watermark))
        if done.rowcount:
            changed.add(name)
    active = {row.id: row for row in session.scalars(select(RolloutRow).where(RolloutRow.active_model.is_not(None)))}
    for evidence in report.evidence:
        row = active.get(evidence.rollout)
        if row is None or not _fits(row, evidence):
            log.info("evidence for %s at %d is of no use", evidence.rollout, evidence.tick_ms)
            continue
        if keep_look(session, evidence, "live", report.monitor, now):
            changed.add(row.model)
    if report.alerts is not None:
        keep_alerts(session, report.monitor, report.alerts, now)
    wakes(session, *(f"facts:{model}" for model in changed))


def _fits(row: RolloutRow, evidence: Evidence) -> bool:
    theirs = (evidence.model, evidence.baseline, evidence.candidate, evidence.method)
    return theirs == (row.model, row.baseline, row.candidate, row.method)


def work(session: Session, uri_of: UriOf) -> MonitorWork:
    """Every rollout whose candidate has shares. In the bake, too, the candidate is the new version."""
    looked = (
        select(EvidenceRow.rollout, func.max(EvidenceRow.tick_ms))
        .join(RolloutRow, RolloutRow.id == EvidenceRow.rollout)
        .where(RolloutRow.active_model.is_not(None), EvidenceRow.stream == "live")
        .group_by(EvidenceRow.rollout)
    )
    newest = {rollout: tick for rollout, tick in session.execute(looked)}  # noqa: C416 rows are no pairs to mypy
    query = select(RolloutRow).where(RolloutRow.active_model.is_not(None)).order_by(RolloutRow.started_at)
    items = [
        item_of(
            session,
            row,
            uri_of,
            alpha=row.plan.live_alpha,
            since_ms=row.started_event_ms,
            last_tick_ms=newest.get(row.id),
        )
        for row in session.scalars(query).all()
        if row.phase in WATCHED and row.started_event_ms is not None
    ]
    models = tuple(session.scalars(select(Model.name).order_by(Model.name)))
    return MonitorWork(rollouts=tuple(items), models=models, watched=watched(session, uri_of))
