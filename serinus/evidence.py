"""Evidence: what the monitors found, with the verdict of each cell and of the rollout."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from enum import IntEnum
from typing import Annotated, Literal

from pydantic import Field

from serinus.guards import Horizon, Metric, Role
from serinus.jobs import Job, JobReport
from serinus.routes import PackageRef
from serinus.sla import Sla
from serinus.tasks import Word

__all__ = [
    "METHOD",
    "CellEvidence",
    "Evidence",
    "HealthAlert",
    "InputEvidence",
    "MonitorReport",
    "MonitorWork",
    "Stream",
    "Verdict",
    "VerdictName",
    "Watched",
    "WorkItem",
    "worst",
]

METHOD = "2"
"""Version of the formulas. A running rollout keeps the one that it began with."""

Stream = Literal["replay", "shadow", "canary"]
"""replay, shadow: both versions scored the same request; canary: against a concurrent control of other users."""
VerdictName = Literal["satisfied", "inconclusive", "error", "violated"]


class Verdict(IntEnum):
    """In rising order of what one must heed; nobody else compares verdicts."""

    SATISFIED = 0
    INCONCLUSIVE = 1
    ERROR = 2
    VIOLATED = 3

    @property
    def word(self) -> VerdictName:
        names: tuple[VerdictName, ...] = ("satisfied", "inconclusive", "error", "violated")
        return names[self]

    @classmethod
    def of(cls, word: VerdictName) -> Verdict:
        return cls[word.upper()]


def worst(verdicts: Iterable[VerdictName]) -> VerdictName:
    """The gravest of them; `inconclusive` when there is none: no data is never a pass."""
    return max((Verdict.of(word) for word in verdicts), default=Verdict.INCONCLUSIVE).word


class CellEvidence(Word):
    """One cell at one look. `estimate`, `low`, `high`: candidate's loss against the baseline in the metric's own unit.

    auc: AUC baseline - AUC candidate; calibration: |log r candidate| - |log r baseline|; log_loss: relative excess;
    failures: log rate ratio. It is bad where it exceeds `margin` (on the same scale). `low`, `high`: interval of
    level 1 - alpha that stays valid however often one looks; None where there is not enough to say anything.
    `labels`: mature labels used; `positives`: the rarer arm's; `groups`: independent groups with positives."""

    stream: Stream
    task: str
    slice: str
    metric: Metric
    role: Role
    weight: float
    margin: float
    estimate: float | None
    low: float | None
    high: float | None
    e_violated: float
    e_satisfied: float
    verdict: VerdictName
    baseline_value: float | None
    candidate_value: float | None
    labels: int
    positives: int
    groups: int
    horizon: Horizon = "mature"
    needs: int | None = None
    """Labels still missing until the cell can speak at all; None when it can, or when nobody can say."""
    why: str = ""
    """For `inconclusive` and `error`: what is missing."""

    @property
    def name(self) -> str:
        return f"{self.task} / {self.slice} / {self.metric}"


class InputEvidence(Word):
    """One check of one raw input, against the statistics that the package brought along (`baseline.json`).

    `version`: whose preprocessing it speaks of; None: of the stream as a whole. `holds`: it is bad enough to stop the
    ramp. `value`, `limit`: in the check's own unit. `since_ms`: event time from which on it has been so."""

    input: str
    check: Literal["missing", "unseen", "out_of_range", "distribution", "stale", "unknown"]
    slice: str = "overall"
    version: int | None = None
    rows: int
    value: float
    limit: float
    holds: bool
    since_ms: int | None = None
    why: str = ""


class Evidence(Word):
    """One look at one rollout, at a tick of event time. Format 1.

    `e`: the weighted sum of the cells' e-values; `limit`: 1/alpha, at which it rolls back. `culprits`: names of the
    violated cells, or else the suspect, when `e` >= `limit`; latched: what was once violated stays so.
    `first_event_ms`, `watermark_ms`: event time covered. `counts`: rows by what became of them. `holds`: what stops the
    ramp now, in words (cells of role `hold`, inputs); not latched. `state_digest`: SHA-256 of the accumulators that
    this look is computed again from."""

    format: Literal[1] = 1
    method: str = METHOD
    rollout: str
    model: str
    baseline: int
    candidate: int
    tick_ms: int
    watermark_ms: int
    first_event_ms: int | None
    e: float
    limit: float
    verdict: VerdictName
    culprits: tuple[str, ...] = ()
    cells: tuple[CellEvidence, ...]
    counts: dict[str, int] = {}
    holds: tuple[str, ...] = ()
    inputs: tuple[InputEvidence, ...] = ()
    state_digest: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of the record's canonical bytes, hex."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @property
    def begun(self) -> bool:
        """True when every required cell has data past its burn-in. Failures have none: they begin with the canary."""
        rates = ("failures", "latency")
        required = [cell for cell in self.cells if cell.role == "required" and cell.metric not in rates]
        return bool(required) and all(cell.estimate is not None for cell in required)


class WorkItem(Word):
    """One rollout that wants evidence: which versions to compare, by which SLA, from when on.

    `started_event_ms`: watermark when shadow traffic began. `last_tick_ms`: newest look that the controller has.
    `shadow`: whether the plan has shadow traffic (fixed at the start: it says which stream carries which cell).
    `packages`: version -> where its files lie."""

    rollout: str
    model: str
    sla: Sla
    baseline: int
    candidate: int
    alpha: float
    started_event_ms: int
    last_tick_ms: int | None = None
    method: str = METHOD
    shadow: bool = True
    packages: dict[int, PackageRef] = {}


class Watched(Word):
    """A model whose stable version is looked after, with no rollout going on as well: its health, its inputs."""

    model: str
    sla: Sla | None = None
    stable: int | None = None
    package: PackageRef | None = None


class HealthAlert(Word):
    """Something that a person should know: of a model's stable version, of its inputs, or of its logs.

    `key`: equal for the same trouble at every report; it is raised once and resolved when it is no more reported.
    `window_s`: of event time that it speaks of. `value`, `limit`: in the check's own unit."""

    key: Annotated[str, Field(max_length=300)]
    model: str
    kind: Literal["health", "input", "labels", "log"]
    text: Annotated[str, Field(max_length=1_000)]
    task: str | None = None
    slice: str | None = None
    input: str | None = None
    window_s: int | None = None
    value: float | None = None
    limit: float | None = None
    since_ms: int | None = None


class MonitorReport(Word):
    """`POST /v1/monitor/exchange`: what a monitor found since its last call, and how far each model's labels are.

    `alerts`: all that are raised now, of every model; None: nothing was looked at, so all stays as it was.
    `jobs`: progress and results. `free`: it would take a job."""

    monitor: str
    watermarks_ms: dict[str, int] = {}
    evidence: tuple[Evidence, ...] = ()
    alerts: tuple[HealthAlert, ...] | None = None
    jobs: tuple[JobReport, ...] = ()
    free: bool = False


class MonitorWork(Word):
    """The answer: every rollout that wants evidence now, and the models whose watermark is wanted.

    `watched`: the same models with what they promise. `jobs`: those that this monitor has under its lease; one that it
    runs and that is not among them was cancelled or taken away."""

    rollouts: tuple[WorkItem, ...]
    models: tuple[str, ...]
    watched: tuple[Watched, ...] = ()
    jobs: tuple[Job, ...] = ()
