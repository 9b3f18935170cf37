"""What a plan is asked with, and what its options say in place of the logs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from monitors.rehearsal import Past
from monitors.survey import PRIOR_CORRELATION, SliceSurvey, Survey, TaskSurvey
from serinus.sla import Sla
from serinus.tasks import Word

__all__ = ["PastParams", "PlanParams", "assumed", "base_rate_of", "correlation_of"]

NO_BASE_RATE = 0.02


class PastParams(Word):
    id: str
    baseline: int
    candidate: int
    start_ms: int | None = None


class PlanParams(Word):
    """See `monitors.plan`."""

    sla: Sla
    stable: int | None = None
    candidate: int | None = None
    watermark_ms: int | None = None
    rollouts: tuple[PastParams, ...] = ()
    base_rates: dict[str, float] = {}
    days: Annotated[float, Field(gt=0, le=366)] = 14.0
    regression: Annotated[float, Field(gt=0, le=1)] | None = None
    per_day: Annotated[float, Field(gt=0)] | None = None
    base_rate: Annotated[float, Field(gt=0, lt=1)] | dict[str, Annotated[float, Field(gt=0, lt=1)]] | None = None
    correlation: Annotated[float, Field(ge=0, lt=1)] | None = None

    @property
    def pasts(self) -> tuple[Past, ...]:
        return tuple(Past(each.id, each.baseline, each.candidate) for each in self.rollouts)


def assumed(params: PlanParams) -> Survey:
    """What the options say in place of the logs. Slices are not known then."""
    tasks = {}
    for task in params.sla.tasks:
        told = params.base_rate.get(task) if isinstance(params.base_rate, dict) else params.base_rate
        rate = told or params.base_rates.get(task) or NO_BASE_RATE
        labels = params.per_day or 0.0
        given = params.sla.tasks[task].given_task
        if given is not None:
            other = params.base_rate.get(given[0]) if isinstance(params.base_rate, dict) else params.base_rate
            share = other or params.base_rates.get(given[0]) or NO_BASE_RATE
            labels *= share if given[1] else 1 - share
        tasks[task] = TaskSurvey(days=1.0, slices={"overall": SliceSurvey(labels, labels * rate)})
    return Survey(0, 0, tasks, params.per_day or 0.0)


def base_rate_of(params: PlanParams, task: TaskSurvey, name: str) -> float:
    overall = task.slices.get("overall", SliceSurvey(0.0, 0.0))
    if overall.positives:
        return min(overall.positives / overall.labels, 0.99)
    return params.base_rates.get(name) or NO_BASE_RATE


def correlation_of(params: PlanParams, task: TaskSurvey) -> float:
    return params.correlation or task.correlation or PRIOR_CORRELATION
