"""How long a rollout still takes, by the newest plan that a monitor made of its model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from controller.tables import JobRow
from serinus.rollouts import ENDS, RolloutView

__all__ = ["Forecast", "forecast"]

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Forecast:
    """`job`: the plan; `made_at`: when. `low_s`, `high_s`: event time still to go until the promotion; None: never, or
    not known. `waits_for`: the slowest guard."""

    job: str
    made_at: float
    low_s: float | None
    high_s: float | None
    waits_for: str


def forecast(session: Session, view: RolloutView, now: float) -> Forecast | None:
    """None without a plan, or when nothing is to be waited for any more."""
    if view.phase in ENDS or view.promoted:
        return None
    query = select(JobRow).where(JobRow.model == view.model, JobRow.kind == "plan", JobRow.state == "done")
    row = session.scalars(query.order_by(JobRow.ended_at.desc()).limit(1)).one_or_none()
    if row is None or row.result is None:
        return None
    low, high = _days(row.result)
    gone = now - view.started_at
    return Forecast(
        row.id,
        row.ended_at or row.created_at,
        None if low is None else max(0.0, low * DAY_S - gone),
        None if high is None else max(0.0, high * DAY_S - gone),
        _text(row.result),
    )


def _days(result: dict[str, Any]) -> tuple[float | None, float | None]:
    """Days until the promotion. A monitor of another release may tell them otherwise: then they are not known."""
    told = result.get("promotion")
    days = told.get("days") if isinstance(told, dict) else None
    if not isinstance(days, list) or len(days) != 2:
        return None, None
    low, high = (float(day) if isinstance(day, int | float) else None for day in days)
    return low, high


def _text(result: dict[str, Any]) -> str:
    told = result.get("promotion")
    return str(told.get("waits_for") or "")[:300] if isinstance(told, dict) else ""
