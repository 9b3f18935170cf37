"""Evidence: what the monitors found, with the verdict of each cell and of the rollout."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from enum import IntEnum
from typing import Literal

from serinus.sla import Metric, Role, Sla
from serinus.tasks import Word

__all__ = [
    "METHOD",
    "CellEvidence",
    "Evidence",
    "MonitorReport",
    "MonitorWork",
    "Stream",
    "Verdict",
    "VerdictName",
    "WorkItem",
    "worst",
]

METHOD = "1"
"""Version of the formulas. A running rollout keeps the one that it began with."""

Stream = Literal["shadow", "canary"]
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
    why: str = ""
    """For `inconclusive` and `error`: what is missing."""

    @property
    def name(self) -> str:
        return f"{self.task} / {self.slice} / {self.metric}"


class Evidence(Word):
    """One look at one rollout, at a tick of event time. Format 1.

    `e`: the weighted sum of the cells' e-values; `limit`: 1/alpha, at which it rolls back. `culprits`: names of the
    violated cells, or else the suspect, when `e` >= `limit`; latched: what was once violated stays so.
    `first_event_ms`, `watermark_ms`: event time covered. `counts`: rows by what became of them."""

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

    @property
    def digest(self) -> str:
        """SHA-256 of the record's canonical bytes, hex."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @property
    def begun(self) -> bool:
        """True when every required cell has data past its burn-in. Failures have none: they begin with the canary."""
        required = [cell for cell in self.cells if cell.role == "required" and cell.metric != "failures"]
        return bool(required) and all(cell.estimate is not None for cell in required)


class WorkItem(Word):
    """One rollout that wants evidence: which versions to compare, by which SLA, from when on.

    `started_event_ms`: watermark when shadow traffic began. `last_tick_ms`: newest look that the controller has."""

    rollout: str
    model: str
    sla: Sla
    baseline: int
    candidate: int
    alpha: float
    started_event_ms: int
    last_tick_ms: int | None = None


class MonitorReport(Word):
    """`POST /v1/monitor/exchange`: what a monitor found since its last call, and how far each model's labels are."""

    monitor: str
    watermarks_ms: dict[str, int] = {}
    evidence: tuple[Evidence, ...] = ()


class MonitorWork(Word):
    """The answer: every rollout that wants evidence now, and the models whose watermark is wanted."""

    rollouts: tuple[WorkItem, ...]
    models: tuple[str, ...]
