"""Regressions put into logs of the past: METRIC:SIZE[@TASK][@SLICE=VALUE], such as `auc:0.05@click@country=BR`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from monitors.rehearsal import Damage
from monitors.survey import Survey
from serinus.errors import BadInput
from serinus.sla import Sla
from serinus.slices import OTHER

__all__ = ["Injection", "damages_of", "parse"]

METRICS = ("auc", "calibration", "loss", "top1", "failures")
_FORM = "expected METRIC:SIZE[@TASK][@SLICE=VALUE], METRIC one of auc, calibration, loss, top1, failures"


@dataclass(frozen=True, slots=True)
class Injection:
    """`size`: auc: how far it falls; calibration: factor on the probabilities; loss: growth of the squared error, as a
    share of it; top1: how far the share of right answers falls, a little less in truth; failures: share of the canary's
    answers. `task`, `where`: None: all, everybody."""

    text: str
    metric: str
    size: float
    task: str | None = None
    where: tuple[str, str] | None = None


def parse(text: str, sla: Sla) -> Injection:
    """Raises BadInput that says what was expected."""
    head, *rest = text.split("@")
    metric, _, number = head.partition(":")
    try:
        size = float(number)
    except ValueError:
        size = math.nan
    if metric not in METRICS or not (0 < size <= 100):
        raise BadInput(f"{text!r} is no regression", _FORM)
    task: str | None = None
    where: tuple[str, str] | None = None
    for part in rest:
        name, equals, value = part.partition("=")
        listed = sla.slice_lists.get(name)
        if equals and name in sla.slice_features and value != OTHER and (listed is None or value in listed):
            where = (name, value)
        elif not equals and name in sla.tasks:
            task = name
        else:
            known = f"the tasks are {sorted(sla.tasks)}, the slices {sorted(sla.slice_features)}"
            raise BadInput(f"{text!r}: {part!r} is neither a task nor a value of a slice", known)
    return Injection(text, metric, size, task, where)


def damages_of(injection: Injection, seen: Survey, sla: Sla) -> tuple[Damage, ...]:
    """What the regression does to the scores, by what the logs say of stable. Raises BadInput where it cannot be made.

    AUC: a share q of all scores is drawn anew, whatever the request. With a = AUC - 1/2 that leaves (1 - q) a: pairs
    with one score drawn anew keep, over both sides, q (1 - q) a of what is lost."""
    if injection.metric == "failures":
        return (Damage(injection.task, injection.where, failed=min(injection.size, 1.0)),)
    kind = {"loss": "regression", "top1": "multiclass"}.get(injection.metric, "binary")
    wanted = [name for name, task in sla.tasks.items() if task.kind == kind and injection.task in (None, name)]
    made = [damage for task in wanted if (damage := _damage(injection, task, seen)) is not None]
    if not made:
        raise BadInput(f"{injection.text}: no task that it could be put into has labels in these weeks")
    return tuple(made)


def _damage(injection: Injection, task: str, seen: Survey) -> Damage | None:
    """None where nothing is known of the task."""
    known = seen.tasks[task]
    if injection.metric == "calibration":
        return Damage(task, injection.where, scale=injection.size)
    if injection.metric == "loss":
        error = float(np.mean((known.p - known.y) ** 2)) if len(known.y) else 0.0
        return Damage(task, injection.where, spread=math.sqrt(injection.size * error)) if error else None
    if injection.metric == "top1":
        return _turned(injection, task, float(known.y.mean()) if len(known.y) else 0.0)
    if (auc := known.auc) is None:
        return None
    if injection.size >= auc - 0.5:
        if injection.task is None:
            return None
        raise BadInput(f"{injection.text}: the AUC of {task} is {auc:.3f}, it cannot fall by so much")
    return Damage(task, injection.where, share=injection.size / (auc - 0.5), pool=known.p)


def _turned(injection: Injection, task: str, right: float) -> Damage | None:
    """What was right becomes wrong in a share of the answers; of what was wrong some becomes right, which is left out.

    `right`: share of stable's answers."""
    if injection.size > right:
        if injection.task is None or not right:
            return None
        raise BadInput(f"{injection.text}: {task} is right in {right:.3f} of its answers, it cannot fall by so much")
    return Damage(task, injection.where, turned=injection.size / right)
