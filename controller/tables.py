"""The tables. Wall times: Unix seconds. Event times: Unix milliseconds. Shared words are stored as JSON text."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, ForeignKeyConstraint, Index, Integer
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.orm import Mapped, mapped_column

from controller.base import AsJson, AsPacked, Base
from controller.console.tables import ConsoleCode, ConsoleSession
from controller.registry_tables import KeyRow, PackageRow, SignatureRow, SlaRow, UploadRow, VersionCardRow
from serinus.evidence import Evidence, HealthAlert
from serinus.notices import Notice
from serinus.package import Manifest
from serinus.rollouts import Move, Plan, Said
from serinus.routes import RouteTable, Weights
from serinus.sla import Sla

__all__ = [
    "AlertRow",
    "Alias",
    "AliasMove",
    "AuditRow",
    "Base",
    "ConsoleCode",
    "ConsoleSession",
    "Delivery",
    "EvidenceRow",
    "JobRow",
    "KeyRow",
    "Lease",
    "LookRow",
    "Model",
    "Monitor",
    "NoticeRow",
    "OnceRow",
    "PackageRow",
    "RankingWeights",
    "Replica",
    "RolloutRow",
    "Route",
    "ShapeRow",
    "SignatureRow",
    "SlaRow",
    "Token",
    "UploadRow",
    "Version",
    "VersionCardRow",
]


class Model(Base):
    """`warm`: the version kept loaded although no route names it, for the way back after a promotion.

    `signed_by`: names of keys of which one must have signed what is rolled out. `deleted_at`: its name is free, its
    history stays."""

    __tablename__ = "models"
    name: Mapped[str] = mapped_column(primary_key=True)
    pool: Mapped[str] = mapped_column(index=True)
    sla: Mapped[Sla] = mapped_column(AsJson(Sla))
    watermark_ms: Mapped[int | None]
    warm: Mapped[int | None]
    created_at: Mapped[float]
    signed_by: Mapped[tuple[str, ...]] = mapped_column(AsJson(tuple[str, ...]), server_default="[]")
    deleted_at: Mapped[float | None]


class Version(Base):
    """`deleted_at`: nobody sees it any more; its number is never given again, and its package's is the same one."""

    __tablename__ = "versions"
    __table_args__ = (Unique("model", "digest"),)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    digest: Mapped[str]
    manifest: Mapped[Manifest] = mapped_column(AsJson(Manifest))
    created_at: Mapped[float]
    deleted_at: Mapped[float | None]


class Alias(Base):
    """Where `stable`, `previous` and the aliases of people point now."""

    __tablename__ = "aliases"
    __table_args__ = (ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.number"]),)
    model: Mapped[str] = mapped_column(primary_key=True)
    alias: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int]


class AliasMove(Base):
    """One move of an alias: from `was` to `version` (None: it pointed nowhere), by which rollout, if any."""

    __tablename__ = "alias_moves"
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"), index=True)
    alias: Mapped[str]
    was: Mapped[int | None]
    version: Mapped[int | None]
    rollout: Mapped[str | None]
    reason: Mapped[str]
    actor: Mapped[str]
    at: Mapped[float]


class RankingWeights(Base):
    """Every setting of a model's ranking weights; the one with the greatest number is in force."""

    __tablename__ = "ranking_weights"
    model: Mapped[str] = mapped_column(ForeignKey("models.name"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    weights: Mapped[Weights] = mapped_column(AsJson(Weights))
    reason: Mapped[str]
    actor: Mapped[str]
    at: Mapped[float]


class RolloutRow(Base):
    """`active_model`: the model's name while the rollout goes on, else null (also while it is queued); unique, so that
    there is but one. `place`: in the queue of its model, in rising order.

    `sla`, `method`: the SLA, and the version of the formulas, when it began; it is judged by those to its end.
    `key`: of who began it, so that asking again begins nothing."""

    __tablename__ = "rollouts"
    __table_args__ = (
        ForeignKeyConstraint(["model", "candidate"], ["versions.model", "versions.number"]),
        ForeignKeyConstraint(["model", "baseline"], ["versions.model", "versions.number"]),
        Unique("active_model"),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(index=True)
    active_model: Mapped[str | None]
    key: Mapped[str | None] = mapped_column(index=True, unique=True)
    candidate: Mapped[int]
    candidate_digest: Mapped[str]
    baseline: Mapped[int]
    plan: Mapped[Plan] = mapped_column(AsJson(Plan))
    sla: Mapped[Sla] = mapped_column(AsJson(Sla))
    method: Mapped[str] = mapped_column(server_default="1")
    phase: Mapped[str]
    step: Mapped[int]
    canary_bp: Mapped[int]
    shadow_bp: Mapped[int]
    promoted: Mapped[bool]
    paused_from: Mapped[str | None]
    paused_event_ms: Mapped[int | None]
    started_at: Mapped[float]
    started_event_ms: Mapped[int | None]
    since_event_ms: Mapped[int | None]
    deadline_at: Mapped[float | None]
    expires_at: Mapped[float | None]
    verdict: Mapped[str | None]
    history: Mapped[tuple[Move, ...]] = mapped_column(AsJson(tuple[Move, ...]))
    reason: Mapped[str]
    actor: Mapped[str]
    place: Mapped[int] = mapped_column(server_default="0")
    said: Mapped[tuple[Said, ...]] = mapped_column(AsJson(tuple[Said, ...]), server_default="[]")
    lacking_since: Mapped[float | None]


class EvidenceRow(Base):
    """One look of a monitor at a rollout, in full; the first that came for a tick stays. Older ones are thinned out.

    `stream`: "live", or "replay" for what a preflight found: its ticks lie before all live ones. `digest`: of the look,
    by which moves name it."""

    __tablename__ = "evidence"
    rollout: Mapped[str] = mapped_column(ForeignKey("rollouts.id"), primary_key=True)
    stream: Mapped[str] = mapped_column(primary_key=True)
    tick_ms: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    verdict: Mapped[str]
    monitor: Mapped[str]
    received_at: Mapped[float]
    body: Mapped[Evidence] = mapped_column(AsPacked(Evidence))
    digest: Mapped[str]
    __table_args__ = (Index(None, "rollout", "verdict"),)


class LookRow(Base):
    """Every look, small: what charts show. `mark`: differs where a look says another thing than the one before it.

    `shape`: number of the list of its guards. `cells`: their numbers, packed (`controller.looks`)."""

    __tablename__ = "looks"
    rollout: Mapped[str] = mapped_column(ForeignKey("rollouts.id"), primary_key=True)
    stream: Mapped[str] = mapped_column(primary_key=True)
    tick_ms: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    e: Mapped[float]
    limit_: Mapped[float]
    verdict: Mapped[str]
    mark: Mapped[str]
    shape: Mapped[int]
    cells: Mapped[bytes]


class ShapeRow(Base):
    """The guards of a rollout's looks, in order: (stream, name, role, margin)."""

    __tablename__ = "look_shapes"
    rollout: Mapped[str] = mapped_column(ForeignKey("rollouts.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    guards: Mapped[tuple[tuple[str, str, str, float], ...]] = mapped_column(
        AsJson(tuple[tuple[str, str, str, float], ...])
    )


class Route(Base):
    """The route table of a model as the replicas get it."""

    __tablename__ = "routes"
    model: Mapped[str] = mapped_column(ForeignKey("models.name"), primary_key=True)
    epoch: Mapped[int]
    body: Mapped[RouteTable] = mapped_column(AsJson(RouteTable))


class Replica(Base):
    """What a replica said last; it counts as live until `expires_at`."""

    __tablename__ = "replicas"
    pool: Mapped[str] = mapped_column(primary_key=True)
    replica: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str]
    number: Mapped[int] = mapped_column(BigInteger)
    applied: Mapped[dict[str, int]] = mapped_column(AsJson(dict[str, int]))
    loaded: Mapped[tuple[str, ...]] = mapped_column(AsJson(tuple[str, ...]))
    fetched: Mapped[tuple[str, ...]] = mapped_column(AsJson(tuple[str, ...]))
    failed: Mapped[dict[str, str]] = mapped_column(AsJson(dict[str, str]))
    resident_bytes: Mapped[int | None] = mapped_column(BigInteger)
    free_bytes: Mapped[int | None] = mapped_column(BigInteger)
    seen_at: Mapped[float]
    expires_at: Mapped[float]


class Monitor(Base):
    __tablename__ = "monitors"
    name: Mapped[str] = mapped_column(primary_key=True)
    seen_at: Mapped[float]


class JobRow(Base):
    """Long work. `worker` has it until `lease_until` (wall time); `losses`: how often a lease has lapsed since its
    progress last grew."""

    __tablename__ = "jobs"
    __table_args__ = (Index(None, "state", "created_at"), Index(None, "model", "kind"))
    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    model: Mapped[str] = mapped_column(ForeignKey("models.name"))
    params: Mapped[dict[str, Any]] = mapped_column(AsJson(dict[str, Any]))
    state: Mapped[str]
    progress: Mapped[float]
    said: Mapped[str]
    result: Mapped[dict[str, Any] | None] = mapped_column(AsJson(dict[str, Any]))
    actor: Mapped[str]
    created_at: Mapped[float]
    worker: Mapped[str | None]
    lease_until: Mapped[float | None]
    losses: Mapped[int]
    ended_at: Mapped[float | None]


class AlertRow(Base):
    """Something that a monitor raised. `active`: model and key while it lasts, else null; unique: it is raised once.

    `monitor`: who reported it last; only a report of that one, or of another when it is silent, resolves it."""

    __tablename__ = "alerts"
    __table_args__ = (Unique("active"),)
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"), index=True)
    active: Mapped[str | None]
    monitor: Mapped[str]
    body: Mapped[HealthAlert] = mapped_column(AsJson(HealthAlert))
    raised_at: Mapped[float]
    seen_at: Mapped[float]
    resolved_at: Mapped[float | None]


class AuditRow(Base):
    """What somebody did. `seal`: hash over the seal before it and over this entry; numbers have no gaps."""

    __tablename__ = "audit"
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[float]
    actor: Mapped[str] = mapped_column(index=True)
    action: Mapped[str]
    subject: Mapped[str] = mapped_column(index=True)
    detail: Mapped[dict[str, Any]] = mapped_column(AsJson(dict[str, Any]))
    seal: Mapped[str]


class NoticeRow(Base):
    """Something that people are to be told. `routed`: it is known to whom."""

    __tablename__ = "notices"
    number: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    at: Mapped[float] = mapped_column(index=True)
    model: Mapped[str] = mapped_column(index=True)
    body: Mapped[Notice] = mapped_column(AsJson(Notice))
    routed: Mapped[bool] = mapped_column(index=True)


class Delivery(Base):
    """A notice on its way to a target. `due_at`: when it is tried (again); None: never again. `said`: why it failed."""

    __tablename__ = "deliveries"
    notice: Mapped[int] = mapped_column(BigInteger(), ForeignKey("notices.number"), primary_key=True)
    target: Mapped[str] = mapped_column(primary_key=True)
    attempts: Mapped[int]
    due_at: Mapped[float | None] = mapped_column(index=True)
    delivered_at: Mapped[float | None]
    said: Mapped[str]


class Lease(Base):
    """Who may act: `holder`, until `expires_at` (wall time). `dead_s`: wall seconds so far in which nobody might."""

    __tablename__ = "leases"
    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    expires_at: Mapped[float]
    dead_s: Mapped[float] = mapped_column(server_default="0")


class Token(Base):
    """A bearer token, by its SHA-256 (hex); the token itself is never stored.

    `source`: "file" (the file replaces those at each start) or "api". `last_used_at`: to the minute."""

    __tablename__ = "tokens"
    name: Mapped[str] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str]
    source: Mapped[str] = mapped_column(server_default="file")
    created_by: Mapped[str | None]
    created_at: Mapped[float | None]
    expires_at: Mapped[float | None]
    last_used_at: Mapped[float | None]


class OnceRow(Base):
    """A write that came with an Idempotency-Key. `state`: "open", "carried_out" (it has committed), "answered".

    `scope`: SHA-256 of the token; `request`: of what was asked. `owner` may carry it out until `lease_until`."""

    __tablename__ = "idempotency"
    scope: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request: Mapped[str]
    owner: Mapped[str]
    state: Mapped[str]
    lease_until: Mapped[float]
    created_at: Mapped[float] = mapped_column(index=True)
    status: Mapped[int | None]
    headers: Mapped[dict[str, str] | None] = mapped_column(AsJson(dict[str, str]))
    body: Mapped[bytes | None]
