"""The SLA of a model: what may not get worse, for whom, and when its labels come.

format: 1
model: ads
tasks:
  click: {label_window_s: 1800, absent: negative, head: {budget_ms: 2, fallback: base_rate}}
  buy:   {label_window_s: 604800, absent: negative, given: click}
slices:
  country: [BR, DE, US]       # more ways to say it: `serinus.slices`
serving: {timeout_ms: 200, inputs_share: 0.1, inputs_exclude: [email]}
inputs: {weather: {missing: 0.05, stale_s: 14400}}   # where `serving` records them; see `serinus.limits`
health: {auc: 0.05}                                  # of what is stable, rollout or not
guards:                       # left out: the defaults of `default_guards`
  - {task: click, metric: auc, margin: 0.01}
  - {task: buy, metric: auc, margin: 0.03, by: country, role: optional}
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field

from serinus.errors import InvalidSla
from serinus.guards import (
    BY_KIND,
    DEFAULT_MARGINS,
    EARLY,
    HOLDING,
    SHOWN,
    SLICE_AUC_MARGIN,
    CellSpec,
    Guard,
    Metric,
    Role,
    family_share,
)
from serinus.limits import HealthLimits, InputLimits
from serinus.needs import unknown_need
from serinus.rollouts import Plan
from serinus.routes import HeadPolicy, ServingPolicy
from serinus.slices import SliceRule, features_of, slice_of
from serinus.tasks import Name, TaskKind, Word
from serinus.yaml_files import read_yaml

__all__ = ["Sla", "TaskSla", "default_guards"]


class TaskSla(Word):
    """When a task's labels come and what their absence means.

    A row's label is mature `label_window_s` (event time) after its request. Without a label by then the row is a
    negative (`absent: negative`, a click that never came; a 0) or has no label at all. `given`: the rows that count are
    those whose label of that other task is 1 (`click`) or 0 (`not cancelled`). `head`: how the task is served.

    `early_window_s`: a label known so soon also counts early. `heartbeat_s`: a label source that says nothing for
    longer (event time of the traffic) stops maturity. `corrections`: which label counts when a newer value comes within
    the window. `label_depends_on_action`: only what stable showed gets a label, so shadow and replay may only hold, and
    the canary decides."""

    kind: TaskKind = "binary"
    label_window_s: Annotated[int, Field(ge=0, le=366 * 86_400)]
    early_window_s: Annotated[int, Field(ge=60, le=366 * 86_400)] | None = None
    absent: Literal["negative", "unlabelled"]
    corrections: Literal["first", "last"] = "first"
    heartbeat_s: Annotated[int, Field(ge=60, le=366 * 86_400)] | None = None
    label_depends_on_action: bool = False
    given: Annotated[str, Field(pattern=r"^(not )?[a-z][a-z0-9_-]{0,62}$")] | None = None
    head: HeadPolicy = HeadPolicy()

    def model_post_init(self, _context: Any, /) -> None:
        if self.early_window_s is not None and self.early_window_s > self.label_window_s:
            raise ValueError(
                f"early_window_s is {self.early_window_s}, longer than label_window_s, {self.label_window_s}"
            )

    @property
    def given_task(self) -> tuple[str, int] | None:
        """(task, the label it must have), or None when every row counts."""
        if self.given is None:
            return None
        return (self.given.removeprefix("not "), 0) if self.given.startswith("not ") else (self.given, 1)


class Sla(Word):
    """The SLA of one model. Format 1. `tick_s`: event time between two looks at the evidence.

    `freeze_scores`: scores of the first closed ticks from which the histogram bins are frozen. `latency_ms`: time
    inside the runtime beyond which an answer counts as slow, for the metric `latency`. `inputs`: limits of raw inputs;
    one that is not named has the defaults. `health`: of what is stable."""

    format: Literal[1] = 1
    model: Name
    tasks: Annotated[dict[Name, TaskSla], Field(min_length=1)]
    slices: dict[str, SliceRule] = {}
    guards: tuple[Guard, ...] = ()
    tick_s: Annotated[int, Field(ge=60, le=86_400)] = 600
    freeze_scores: Annotated[int, Field(ge=200, le=1_000_000)] = 5_000
    latency_ms: Annotated[float, Field(gt=0, le=60_000)] | None = None
    serving: ServingPolicy = ServingPolicy()
    inputs: dict[Name, InputLimits] = {}
    health: HealthLimits = HealthLimits()
    rollout: Plan = Plan()

    def model_post_init(self, _context: Any, /) -> None:
        if 86_400 % self.tick_s:
            raise ValueError(f"tick_s is {self.tick_s}: a day must be a whole number of ticks")
        self._check_slices()
        for name, task in self.tasks.items():
            if task.given_task and (task.given_task[0] not in self.tasks or task.given_task[0] == name):
                raise ValueError(f"tasks.{name}.given names {task.given_task[0]!r}, which is no other task here")
            if task.given_task and self.tasks[task.given_task[0]].given is not None:
                raise ValueError(f"tasks.{name}.given names a task that is itself given another")
            if task.given_task and self.tasks[task.given_task[0]].kind != "binary":
                raise ValueError(f"tasks.{name}.given names {task.given_task[0]!r}, which is not binary")
            if task.kind == "multiclass" and task.absent == "negative":
                raise ValueError(f"tasks.{name}.absent: no class is the negative one; say unlabelled")
            if task.kind == "multiclass" and not isinstance(task.head.fallback, str):
                raise ValueError(f"tasks.{name}.head.fallback: a number is no answer of a multiclass task")
        for at, guard in enumerate(self.guards):
            if guard.task not in self.tasks:
                raise ValueError(f"guards.{at}.task: {guard.task!r} is not one of {sorted(self.tasks)}")
            if guard.by is not None and guard.by not in self.slices:
                raise ValueError(f"guards.{at}.by: {guard.by!r} is not one of {sorted(self.slices)}")
            self._check_metric(at, guard)
        if self.guards and not any(guard.role == "required" and not guard.dry_run for guard in self.guards):
            raise ValueError("guards: none is required, so every version would be promoted")
        if (total := sum(guard.weight or 0 for guard in self.guards)) > 1 + 1e-9:
            raise ValueError(f"guards: the weights add up to {total:g}, more than 1")
        self._check_needs()

    def _check_slices(self) -> None:
        for name, rule in self.slices.items():
            slice_of(rule).check(name)

    def _check_needs(self) -> None:
        needs = any(step.needs for step in self.rollout.steps)
        if needs and (wrong := unknown_need(self.rollout, (cell.name for cell in self.cells()))):
            raise ValueError(f"rollout.{wrong}")

    def _check_metric(self, at: int, guard: Guard) -> None:
        task = self.tasks[guard.task]
        if guard.metric not in BY_KIND[task.kind]:
            raise ValueError(f"guards.{at}.metric: {guard.metric} is no metric of a {task.kind} task")
        if guard.metric in EARLY and task.early_window_s is None:
            raise ValueError(f"guards.{at}.metric: {guard.metric} needs tasks.{guard.task}.early_window_s")
        if guard.metric in EARLY and guard.role == "required":
            raise ValueError(f"guards.{at}.role: {guard.metric} may roll back but never promote; say optional")
        if guard.metric in HOLDING | SHOWN and guard.role not in ("hold", "display"):
            raise ValueError(f"guards.{at}.role: {guard.metric} never rolls back; say hold or display")
        if guard.dry_run and guard.role not in ("required", "optional"):
            raise ValueError(f"guards.{at}.dry_run: a guard of role {guard.role} never rolls back; say display")
        if guard.metric == "latency" and self.latency_ms is None:
            raise ValueError(f"guards.{at}.metric: latency needs latency_ms, the time an answer may take")

    @classmethod
    def from_yaml(cls, text: str, source: str = "SLA") -> Self:
        """Read and check an SLA; `source` names the file. Raises InvalidSla that says line, column and field."""
        return read_yaml(cls, text, source, InvalidSla)

    @property
    def slice_lists(self) -> dict[str, tuple[str, ...]]:
        """Slice -> what its places are called, in their order; a row's place is -1 where it has none."""
        return {name: slice_of(rule).names for name, rule in self.slices.items()}

    @property
    def slice_features(self) -> tuple[str, ...]:
        """The features and attributes whose values the slices need."""
        return tuple(dict.fromkeys(f for name, rule in self.slices.items() for f in features_of(name, rule)))

    def horizon_s(self, task: str) -> int:
        """Seconds of event time after which a row's label of `task`, and of the task it is given, is mature."""
        own = self.tasks[task]
        return max(own.label_window_s, self.tasks[own.given_task[0]].label_window_s if own.given_task else 0)

    def cells(self) -> tuple[CellSpec, ...]:
        """Every cell with its weight; the weights of all cells that can roll back add up to 1."""
        guards, lists = self.guards or default_guards(self), self.slice_lists
        deciding = [guard for guard in guards if guard.role in ("required", "optional")]
        weights = _weights([guard for guard in deciding if not guard.dry_run])
        rehearsed = _weights(deciding)
        return tuple(
            CellSpec(
                task=guard.task,
                slice=where,
                metric=guard.metric,
                margin=guard.margin,
                role=guard.role,
                weight=(rehearsed if guard.dry_run else weights).get(id(guard), 0.0) / len(places),
                dry_run=guard.dry_run,
            )
            for guard in guards
            for places in [["overall"] if guard.by is None else [f"{guard.by}={v}" for v in lists[guard.by]]]
            for where in places
        )


def _weights(deciding: list[Guard]) -> dict[int, float]:
    """Weight of each guard, by its `id`; they add up to 1."""
    fixed = sum(guard.weight or 0 for guard in deciding)
    open_ = {id(g): family_share(g, deciding) for g in deciding if g.weight is None}
    scale = max(0.0, 1 - fixed) / sum(open_.values()) if open_ else 0.0
    raw = {id(g): g.weight if g.weight is not None else open_[id(g)] * scale for g in deciding}
    whole = sum(raw.values()) or 1.0
    return {guard: weight / whole for guard, weight in raw.items()}


def default_guards(sla: Sla) -> tuple[Guard, ...]:
    """What is guarded where an SLA names no guards, by the kind of each task.

    Overall: discrimination, calibration and log-loss, or their likes; failures, and latency where a budget is given;
    early labels where a window is given. By slice, optional: AUC, loss or top-1. What only
    holds is the SLA's to ask for."""
    return tuple(guard for name, task in sla.tasks.items() for guard in _default_guards_of(sla, name, task))


_OVERALL: dict[TaskKind, tuple[Metric, ...]] = {
    "binary": ("auc", "calibration", "log_loss"),
    "regression": ("loss", "bias"),
    "multiclass": ("top1", "log_loss"),
}


def _default_guards_of(sla: Sla, name: str, task: TaskSla) -> list[Guard]:
    def guard(metric: Metric, role: Role, margin: float | None = None, by: str | None = None) -> Guard:
        return Guard(task=name, metric=metric, role=role, by=by, margin=margin or DEFAULT_MARGINS[metric])

    overall = _OVERALL[task.kind]
    rates: tuple[Metric, ...] = ("failures",) if sla.latency_ms is None else ("failures", "latency")
    early = [guard("early_auc", "optional")] if task.kind == "binary" and task.early_window_s else []
    by_slice = SLICE_AUC_MARGIN if task.kind == "binary" else None
    return [
        *(guard(metric, "required") for metric in overall),
        *(guard(metric, "optional") for metric in rates),
        *early,
        *(guard(overall[0], "optional", by_slice, by) for by in sla.slices),
    ]
