"""The bodies of requests and answers that only this API has."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from serinus.evidence import Evidence, HealthAlert
from serinus.rollouts import Command, Plan
from serinus.routes import Weights
from serinus.sla import Sla
from serinus.tasks import Name, Word

__all__ = [
    "AlertView",
    "AliasView",
    "CommandBody",
    "EvidencePage",
    "FetchBody",
    "HealthView",
    "ModelBody",
    "ModelSaved",
    "ModelView",
    "PromoteBody",
    "Pushed",
    "RolloutKey",
    "StartBody",
    "VersionView",
    "WeightsBody",
    "WeightsLine",
    "WeightsView",
]

Reason = Annotated[str, Field(max_length=2000)]
Actor = Annotated[str, Field(max_length=200)]
RolloutKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,128}$")]


class ModelBody(Word):
    """`signed_by`: names of keys, one of which must have signed what is rolled out; None: as it is, (): nobody must.

    `reason`: why the SLA changes."""

    sla: Sla
    pool: Name = "default"
    signed_by: Annotated[tuple[Name, ...], Field(max_length=64)] | None = None
    reason: Reason = ""


class ModelSaved(Word):
    """`sla`: number of the SLA in force."""

    model: Name
    pool: Name
    sla: int


class AliasView(Word):
    """One move of an alias, in the history of a model."""

    alias: str
    was: int | None
    version: int | None
    rollout: str | None
    reason: str
    actor: str
    at: float


class ModelView(Word):
    """`rollout`: id of the active one. `epoch`: of its route table. `watermark_ms`: event time of its labels."""

    model: Name
    pool: Name
    sla: Sla
    aliases: dict[str, int]
    alias_history: tuple[AliasView, ...]
    epoch: int | None
    rollout: str | None
    watermark_ms: int | None
    signed_by: tuple[str, ...] = ()


class Pushed(Word):
    version: int
    digest: str
    created: bool


class VersionView(Word):
    version: int
    digest: str
    tasks: tuple[str, ...]
    provenance: dict[str, str]
    created_at: float


class PromoteBody(Word):
    version: Annotated[int, Field(ge=1)]
    reason: Reason = ""
    initial: bool = False
    actor: Actor = ""


class WeightsBody(Word):
    """All ranking weights of a model. A task that is not among them does not count; {}: every task counts once."""

    weights: Annotated[Weights, Field(max_length=256)]
    reason: Reason = ""
    actor: Actor = ""


class WeightsLine(Word):
    """One setting of the weights."""

    number: int
    weights: Weights
    reason: str
    actor: str
    at: float


class WeightsView(Word):
    """`number`: of the setting in force; 0 when there was none yet. `history`: the newest first."""

    model: Name
    number: int
    weights: Weights
    history: tuple[WeightsLine, ...]


class StartBody(Word):
    """`plan`: None takes the one of the SLA. `actor`: None takes the name of the token. `queue`: begin when the
    rollouts before it have ended, instead of being refused. A version that was rolled back needs a `reason`.

    `skip_preflight`: meet users untried on the past, whatever the plan says. That needs an operator and a `reason`, and
    so does a `plan` without the preflight that the SLA's has. `key`: who asks again with it gets the rollout that it
    began, whatever became of that, however long ago."""

    version: Annotated[int, Field(ge=1)]
    plan: Plan | None = None
    queue: bool = False
    skip_preflight: bool = False
    key: RolloutKey | None = None
    reason: Reason = ""
    actor: Actor = ""


class FetchBody(Word):
    """`uri`: folder of the package, by fsspec, below one of the controller's SERINUS_SOURCES. `digest`: what its
    manifest must have; None: whatever lies there."""

    uri: Annotated[str, Field(min_length=1, max_length=1_000)]
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None


class CommandBody(Word):
    command: Command
    reason: Reason = ""
    actor: Actor = ""


class EvidencePage(Word):
    """In rising order of tick; ask again with `after_ms` = the last tick until it is empty."""

    evidence: tuple[Evidence, ...]


class AlertView(Word):
    """An alert and its wall times (Unix seconds). `resolved_at`: None while it lasts."""

    alert: HealthAlert
    raised_at: float
    seen_at: float
    resolved_at: float | None


class HealthView(Word):
    """What monitors say of a model's stable version. `previous`: the version that `serinus rollback` goes back to.

    `alerts`: those that last, then resolved ones, the newest first. `looked_at`: when a monitor last called."""

    model: Name
    stable: int | None
    previous: int | None
    looked_at: float | None
    alerts: tuple[AlertView, ...]
