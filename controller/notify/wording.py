"""What happened, as people are told it. Pure."""

from __future__ import annotations

from controller.actions import Alert
from serinus.evidence import HealthAlert
from serinus.notices import Notice, NoticeKind, Severity

__all__ = ["of_alert", "of_health"]

SEVERITY: dict[NoticeKind, Severity] = {
    "rolled_back": "critical",
    "awaiting_approval": "warning",
    "held": "warning",
    "health": "warning",
    "dry_run": "warning",
    "promoted": "info",
    "rollout": "warning",
    "test": "info",
}
TITLES: dict[NoticeKind, str] = {
    "rolled_back": "a version was rolled back",
    "awaiting_approval": "a rollout awaits approval",
    "held": "a rollout is held",
    "dry_run": "a guard in dry run would have rolled back",
    "promoted": "a version was promoted",
    "rollout": "a rollout needs a look",
}


def of_alert(alert: Alert, now: float) -> Notice:
    """What a decision wants people to know."""
    return Notice(
        kind=alert.kind,
        severity=SEVERITY[alert.kind],
        key=f"{alert.rollout} {alert.key or alert.kind}"[:400],
        model=alert.model,
        rollout=alert.rollout,
        title=f"{alert.model}: {TITLES.get(alert.kind, alert.kind)}"[:200],
        text=alert.text[:4_000],
        guards=alert.guards,
        resolved=alert.resolved,
        at=now,
    )


def of_health(alert: HealthAlert, now: float, *, resolved: bool = False) -> Notice:
    """What a monitor raised about what is stable, about its inputs or about its logs; or that it is over."""
    where = "/".join(part for part in (alert.task, alert.slice, alert.input) if part)
    return Notice(
        kind="health",
        severity="warning",
        key=f"{alert.model} {alert.key}"[:400],
        model=alert.model,
        title=f"{alert.model}: trouble with {alert.kind}{f' ({where})' if where else ''}"[:200],
        text=alert.text,
        resolved=resolved,
        at=now,
    )
