"""Alerts that monitors raise: kept once each, resolved when they are no more reported."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from controller.gates import FRESH_S
from controller.notify.outbox import tell
from controller.notify.wording import of_health
from controller.tables import AlertRow, Model, Monitor
from serinus.evidence import HealthAlert

__all__ = ["keep_alerts", "read_alerts"]

log = logging.getLogger(__name__)
MOST_ALERTS = 1_000
KEPT_S = 90 * 86_400


def keep_alerts(session: Session, monitor: str, alerts: Iterable[HealthAlert], now: float) -> None:
    """Make what is raised the alerts of a report: new ones are raised, those that it lacks are resolved.

    What another monitor reported is left alone as long as that one calls. Alerts of unknown models are ignored."""
    models = set(session.scalars(select(Model.name)))
    rows = session.scalars(select(AlertRow).where(AlertRow.active.is_not(None)))
    active = {row.active: row for row in rows}
    said: set[str] = set()
    for alert in list(alerts)[:MOST_ALERTS]:
        name = f"{alert.model} {alert.key}"
        if alert.model not in models or name in said:
            continue
        said.add(name)
        row = active.get(name)
        if row is None:
            log.warning("%s: raised: %s", alert.model, alert.text)
            tell(session, of_health(alert, now))
            session.add(
                AlertRow(model=alert.model, active=name, monitor=monitor, body=alert, raised_at=now, seen_at=now)
            )
        else:
            row.monitor, row.body, row.seen_at = monitor, alert, now
    alive = set(session.scalars(select(Monitor.name).where(Monitor.seen_at >= now - FRESH_S)))
    for known, row in active.items():
        if known not in said and (row.monitor == monitor or row.monitor not in alive):
            log.warning("%s: resolved: %s", row.model, row.body.text)
            tell(session, of_health(row.body, now, resolved=True))
            row.active, row.resolved_at = None, now
    session.execute(delete(AlertRow).where(AlertRow.resolved_at < now - KEPT_S))


def read_alerts(session: Session, model: str, limit: int = 100) -> list[AlertRow]:
    """Those that last, then those that were resolved, the newest first."""
    rows = select(AlertRow).where(AlertRow.model == model)
    order = AlertRow.active.is_(None), AlertRow.resolved_at.desc(), AlertRow.id.desc()
    return list(session.scalars(rows.order_by(*order).limit(limit)))
