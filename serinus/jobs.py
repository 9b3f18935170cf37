"""Long work that needs the logs: the controller writes it down, a monitor does it under a lease and brings results."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from serinus.tasks import Name, Word

__all__ = [
    "JOB_ENDS",
    "JOB_LEASE_S",
    "PARAMS_BYTES",
    "RESULT_BYTES",
    "Job",
    "JobAsk",
    "JobKind",
    "JobReport",
    "JobState",
]

JobKind = Literal["preflight", "plan", "backtest", "recompute", "erase"]
JobState = Literal["queued", "running", "done", "failed", "cancelled"]
JOB_ENDS: frozenset[JobState] = frozenset({"done", "failed", "cancelled"})
JOB_LEASE_S = 60.0
"""Wall time that a monitor has a job for; its exchanges renew it. One that reaches nobody for so long stops."""
PARAMS_BYTES, RESULT_BYTES = 256 << 10, 4 << 20
"""The most, as JSON."""


class Job(Word):
    """One piece of long work, and how far it is.

    `params`: what the kind needs, checked by whoever runs it. `progress`: 0 to 1; `said`: the newest line of progress,
    or why it failed. `worker`: the monitor that has it, until `lease_until` (wall, Unix seconds); another one may take
    it then and goes on from what the first one left. `result`: of the kind's own shape."""

    id: str
    kind: JobKind
    model: str
    params: dict[str, Any] = {}
    state: JobState = "queued"
    progress: Annotated[float, Field(ge=0, le=1)] = 0.0
    said: str = ""
    result: dict[str, Any] | None = None
    actor: str = ""
    created_at: float = 0.0
    worker: str | None = None
    lease_until: float | None = None


class JobAsk(Word):
    """What somebody asks for. `params` may bring an `sla` of its own; else the model's is filled in."""

    kind: JobKind
    model: Name
    params: dict[str, Any] = {}
    actor: Annotated[str, Field(max_length=200)] | None = None


class JobReport(Word):
    """What a monitor says of a job that it runs. `state`: `running`, or how it ended."""

    id: str
    state: JobState = "running"
    progress: Annotated[float, Field(ge=0, le=1)] = 0.0
    said: Annotated[str, Field(max_length=2_000)] = ""
    result: dict[str, Any] | None = None
