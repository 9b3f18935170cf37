"""Before a rollout starts: how long until it can be promoted, until a regression is caught, and what never decides.

A job of kind `plan`. Parameters: `sla`, `stable`, `watermark_ms`, `rollouts`, `base_rates` (the controller fills them
in); `candidate`, `days` of logs to look at, `regression` (how far the AUC falls), and for a model without traffic
`per_day` (requests) with `base_rate` (of every task, or by task).
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from monitors.job_child import Progress
from monitors.log import LogReader
from monitors.plan_guard import DAY_S, planned, schedule_of
from monitors.plan_params import PlanParams, assumed, base_rate_of, correlation_of
from monitors.planning import SHOCKS
from monitors.rehearsal import DAY_MS
from monitors.room import LIMIT_BYTES, room_of
from monitors.shares import shares_of
from monitors.survey import SliceSurvey, Survey, closed, complete_to, item_of, survey
from serinus.errors import BadInput
from serinus.guards import HOLDING, SHOWN
from serinus.jobs import Job
from serinus.sla import Sla

__all__ = ["plan_of", "run"]

FEW_POSITIVES = 400


def run(job: Job, log: Path, state: Path, progress: Progress) -> dict[str, Any]:  # noqa: ARG001 it is done in one go
    """Raises BadInput when there is neither traffic in the logs nor in the parameters."""
    try:
        params = PlanParams.model_validate(job.params)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    sla, seen = _surveyed(params, log, progress)
    if params.per_day is None and (seen is None or not seen.answers):
        raise BadInput(
            f"nothing of {job.model} is logged in the last {params.days:g} days",
            "say what to expect: `serinus plan MODEL --per-day 100000 --base-rate 0.02`",
        )
    return plan_of(params.model_copy(update={"sla": sla}), seen)


def _surveyed(params: PlanParams, log: Path, progress: Progress) -> tuple[Sla, Survey | None]:
    """The SLA with all slices named, and what the logs say, if they are to be asked and known of."""
    model = params.sla.model
    end_ms = complete_to(log, model, params.watermark_ms, int(time.time() * 1000))
    if params.per_day is not None or end_ms is None:
        return params.sla, None
    reader = LogReader(log, model, params.sla.slice_features, cached_rows=200_000)
    window = (end_ms - int(params.days * DAY_MS), end_ms)
    sla = closed(params.sla, reader, end_ms)
    return sla, survey(reader, sla, window, params.pasts, progress)


def plan_of(params: PlanParams, seen: Survey | None) -> dict[str, Any]:
    """The plan, as JSON. Pure."""
    logged = seen is not None and params.per_day is None
    found = seen if seen is not None and logged else assumed(params)
    sla = params.sla
    alpha = sla.rollout.live_alpha
    item = item_of(sla, 0, alpha)
    shares = shares_of(item)
    cells = [
        planned(params, found, share, alpha)
        for share in shares
        if share.role in ("required", "optional") and share.spec.metric not in HOLDING | SHOWN
    ]
    waited = [cell for cell in cells if cell.promote is not None]
    floor = _least_days(sla)
    lasts = [max((cell.promote.days[at] for cell in waited if cell.promote), default=0.0) for at in (0, 1)]
    slowest = max(waited, key=lambda cell: cell.promote.days[0] if cell.promote else 0.0, default=None)
    room = room_of(item)
    return {
        "model": sla.model,
        "candidate": params.candidate,
        "from": "logs" if logged else "options",
        "answers_per_day": found.answers,
        "tasks": {task: _told(params, found, task) for task in sla.tasks},
        "alpha": alpha,
        "max_days": sla.rollout.max_duration_s / DAY_S,
        "promotion": {
            "days": [_finite(max(last, floor)) for last in lasts],
            "least_days": floor,
            "waits_for": slowest.share.spec.name if slowest else "",
        },
        "guards": [cell.plain for cell in cells],
        "undecidable": [cell.share.spec.name for cell in waited if cell.decidable == "never"],
        "small": _small(params, found),
        "memory": {
            "bytes": room.whole,
            "kept_bytes": room.kept,
            "limit_bytes": LIMIT_BYTES,
            "fewer_bins": list(room.coarser),
        },
        "shocks": list(SHOCKS),
    }


def _least_days(sla: Sla) -> float:
    plan = sla.rollout
    holds = plan.shadow_hold_s + sum(step.hold_s for step in plan.steps)
    return max(holds, plan.cycle_s) / DAY_S


def _told(params: PlanParams, found: Survey, name: str) -> dict[str, Any]:
    task = found.tasks[name]
    overall = task.slices.get("overall", SliceSurvey(0.0, 0.0))
    said = "option" if params.correlation else "logs" if task.correlation else "prior"
    return {
        "labels_per_day": overall.labels,
        "positives_per_day": overall.positives,
        "base_rate": base_rate_of(params, task, name),
        "auc": task.auc,
        "correlation": correlation_of(params, task),
        "correlation_from": said,
        "label_days": params.sla.horizon_s(name) / DAY_S,
    }


def _small(params: PlanParams, found: Survey) -> list[dict[str, Any]]:
    """Guarded slices that get fewer than FEW_POSITIVES positives in the longest rollout."""
    sla = params.sla
    most, small = sla.rollout.max_duration_s / DAY_S, []
    for task, where in sorted({(cell.task, cell.slice) for cell in sla.cells() if cell.slice != "overall"}):
        if sla.tasks[task].kind != "binary" or where not in found.tasks[task].slices:
            continue
        schedule = schedule_of(sla, "shadow" if sla.rollout.shadow_bp else "canary")
        count = found.tasks[task].slices[where].positives * schedule.seen(most - sla.horizon_s(task) / DAY_S)
        if count < FEW_POSITIVES:
            small.append({"task": task, "slice": where, "positives": count, "missing": FEW_POSITIVES - count})
    return small


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
