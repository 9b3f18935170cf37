"""Rows of rollouts to values and back."""

from __future__ import annotations

from dataclasses import fields

from sqlalchemy import case, select
from sqlalchemy.orm import Session

from controller.rollouts import Rollout
from controller.tables import EvidenceRow, Model, Replica, RolloutRow
from serinus.errors import NotFound
from serinus.evidence import Evidence
from serinus.rollouts import Phase
from serinus.routes import ReplicaReport

__all__ = [
    "active_rollout",
    "as_rollout",
    "latest_evidence",
    "live_replicas",
    "lock_model",
    "lock_rollout",
    "model_of",
    "report_of",
    "rollout_row",
    "save",
]

_READ: dict[str, Evidence] = {}
"""Digest -> the look: most rounds find the one that was read before. A digest stands for one look alone."""
MOST_READ = 128

FIELDS = tuple(field.name for field in fields(Rollout))


def as_rollout(row: RolloutRow) -> Rollout:
    values = {name: getattr(row, name) for name in FIELDS}
    values["phase"] = Phase(row.phase)
    values["paused_from"] = Phase(row.paused_from) if row.paused_from else None
    return Rollout(**values)


def save(row: RolloutRow, rollout: Rollout) -> None:
    """Write the rollout into its row; one that is queued, or has ended, leaves room for another of its model."""
    for name in FIELDS:
        if getattr(row, name) != getattr(rollout, name):
            setattr(row, name, getattr(rollout, name))
    row.active_model = rollout.model if rollout.running else None


def model_of(session: Session, name: str) -> Model:
    """Raises NotFound, also for a model that was deleted."""
    model = session.get(Model, name)
    if model is None or model.deleted_at is not None:
        raise NotFound(f"there is no model {name!r}")
    return model


def lock_model(session: Session, name: str) -> Model:
    """The model, locked, as it is once it is: everything that changes a route goes through here first.

    Raises NotFound."""
    query = select(Model).where(Model.name == name).with_for_update().execution_options(populate_existing=True)
    model = session.scalars(query).one_or_none()
    if model is None or model.deleted_at is not None:
        raise NotFound(f"there is no model {name!r}")
    return model


def lock_rollout(session: Session, rollout_id: str) -> tuple[Model, RolloutRow]:
    """The rollout and its model, both locked, the model first. Raises NotFound."""
    name = session.scalar(select(RolloutRow.model).where(RolloutRow.id == rollout_id))
    if name is None:
        raise NotFound(f"there is no rollout {rollout_id!r}")
    model = lock_model(session, name)
    query = select(RolloutRow).where(RolloutRow.id == rollout_id).with_for_update()
    return model, session.scalars(query.execution_options(populate_existing=True)).one()


def rollout_row(session: Session, rollout_id: str) -> RolloutRow:
    """Raises NotFound."""
    if (row := session.get(RolloutRow, rollout_id)) is None:
        raise NotFound(f"there is no rollout {rollout_id!r}")
    return row


def active_rollout(session: Session, model: str) -> Rollout | None:
    row = session.scalars(select(RolloutRow).where(RolloutRow.active_model == model)).one_or_none()
    return as_rollout(row) if row else None


def latest_evidence(session: Session, rollout_id: str, stream: str = "live") -> Evidence | None:
    """The first look at a stream that was violated, for a violation is final; else the newest look.

    `stream`: "live", or "replay" for what the preflight found, which counts in that phase only."""
    first_violated = case((EvidenceRow.verdict == "violated", -EvidenceRow.tick_ms))
    query = (
        select(EvidenceRow.tick_ms, EvidenceRow.digest)
        .where(EvidenceRow.rollout == rollout_id, EvidenceRow.stream == stream)
        .order_by((EvidenceRow.verdict == "violated").desc(), first_violated.desc(), EvidenceRow.tick_ms.desc())
        .limit(1)
    )
    found = session.execute(query).one_or_none()
    if found is None:
        return None
    if (look := _READ.get(found.digest)) is None:
        key = (rollout_id, stream, found.tick_ms)
        body = (EvidenceRow.rollout, EvidenceRow.stream, EvidenceRow.tick_ms)
        query_body = select(EvidenceRow.body).where(*(column == value for column, value in zip(body, key, strict=True)))
        look = _READ[found.digest] = session.scalars(query_body).one()
        for digest in list(_READ)[:-MOST_READ]:
            _READ.pop(digest, None)
    return look


def live_replicas(session: Session, pool: str, now: float) -> tuple[ReplicaReport, ...]:
    query = select(Replica).where(Replica.pool == pool, Replica.expires_at > now).order_by(Replica.replica)
    return tuple(report_of(row) for row in session.scalars(query))


def report_of(row: Replica) -> ReplicaReport:
    told = {name: getattr(row, name) for name in ReplicaReport.model_fields}
    return ReplicaReport.model_validate(told)
