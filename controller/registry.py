"""The registry: models with their SLA, immutable numbered versions, and aliases with their history."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from controller.database import wakes
from controller.rows import lock_model
from controller.slas import add_sla
from controller.tables import Alias, AliasMove, Model, Version, VersionCardRow
from serinus.diff import Measured
from serinus.errors import InvalidPackage, InvalidSla, NotFound
from serinus.package import Manifest
from serinus.sla import Sla
from serinus.tasks import TaskKind

__all__ = [
    "add_version",
    "alias_of",
    "check_comparable",
    "check_covers",
    "point",
    "previous_before",
    "put_model",
    "version_of",
]


def put_model(
    session: Session,
    sla: Sla,
    pool: str,
    now: float,
    *,
    signed_by: tuple[str, ...] | None = None,
    reason: str = "",
    actor: str = "",
) -> Model:
    """Create the model, or give it this SLA and pool. A model that was deleted begins anew, its numbers go on.

    `signed_by`: None leaves that rule as it is. Raises InvalidSla when its stable version lacks a task."""
    if session.get(Model, sla.model) is None:
        fresh = {"watermark_ms": None, "warm": None, "deleted_at": None, "created_at": now}
        session.add(Model(name=sla.model, pool=pool, sla=sla, signed_by=signed_by or (), **fresh))
        session.flush()
        add_sla(session, sla, reason=reason, actor=actor, now=now)
        return lock_model(session, sla.model)
    model = session.scalars(select(Model).where(Model.name == sla.model).with_for_update()).one()
    if model.deleted_at is not None:
        model.deleted_at, model.signed_by, model.watermark_ms = None, (), None
    _check_stable(session, sla)
    if model.sla != sla:
        model.sla = sla
        add_sla(session, sla, reason=reason, actor=actor, now=now)
    if model.pool != pool:
        wakes(session, f"pool:{model.pool}", f"pool:{pool}")
        model.pool = pool
    if signed_by is not None:
        model.signed_by = signed_by
    return model


def _check_stable(session: Session, sla: Sla) -> None:
    stable = alias_of(session, sla.model, "stable")
    if stable is None:
        return
    manifest = version_of(session, sla.model, stable).manifest
    if lacks := _lacking(sla, manifest):
        raise InvalidSla(f"tasks.{lacks[0]}: the stable version, {stable}, has no such task")
    if others := _of_another_kind(sla, manifest):
        task, said, kind = others[0]
        raise InvalidSla(f"tasks.{task}.kind: it is {said}, but {kind} in the stable version, {stable}")


def check_covers(sla: Sla, manifest: Manifest) -> None:
    """Raise InvalidPackage, naming the task, when the SLA speaks of a task that the package lacks, or of another
    kind."""
    if lacks := _lacking(sla, manifest):
        raise InvalidPackage(
            f"the SLA of {sla.model} names task {lacks[0]!r}; the package has only {list(manifest.task_names)}",
            "export the package with that task, or take the task out of the SLA first",
        )
    if others := _of_another_kind(sla, manifest):
        task, said, kind = others[0]
        raise InvalidPackage(
            f"the SLA of {sla.model} says that task {task!r} is {said}; in the package it is {kind}",
            f"say `kind: {kind}` at the task in the SLA, or export the package with a {said} task",
        )


def _lacking(sla: Sla, manifest: Manifest) -> list[str]:
    return sorted(set(sla.tasks) - set(manifest.task_names))


def check_comparable(sla: Sla, stable: Manifest, candidate: Manifest) -> None:
    """Raise InvalidPackage, naming the task, where the two versions' classes are not the same: a label is a place."""
    for name in sorted(sla.tasks):
        old, new = stable.task(name).classes, candidate.task(name).classes
        if old != new:
            raise InvalidPackage(
                f"task {name!r} has the classes {_listed(new)}, in the stable version {_listed(old)}",
                "a label names a class by its place: keep them, or promote this version with a reason, unjudged",
            )


def _listed(classes: tuple[str, ...]) -> str:
    return str([*classes[:20], *(["..."] if len(classes) > 20 else [])])


def _of_another_kind(sla: Sla, manifest: Manifest) -> list[tuple[str, TaskKind, TaskKind]]:
    """(task, its kind in the SLA, in the package), of the tasks where the two differ."""
    kinds = {task.name: task.kind for task in manifest.tasks}
    return [(name, task.kind, kinds[name]) for name, task in sorted(sla.tasks.items()) if task.kind != kinds[name]]


def add_version(
    session: Session,
    name: str,
    digest: str,
    manifest: Manifest,
    now: float,
    *,
    actor: str = "",
    measured: Measured | None = None,
    imported: dict[str, Any] | None = None,
) -> tuple[int, bool]:
    """(number, created). The same digest again is the same version; one that was deleted is there again.

    Raises NotFound, InvalidPackage."""
    model = lock_model(session, name)
    check_covers(model.sla, manifest)
    query = select(Version).where(Version.model == name, Version.digest == digest)
    if (known := session.scalars(query).one_or_none()) is not None:
        back, known.deleted_at = known.deleted_at is not None, None
        told = session.get(VersionCardRow, (name, known.number))
        if told is not None and told.imported is None:
            told.imported = imported
        return known.number, back
    number = (session.scalar(select(func.max(Version.number)).where(Version.model == name)) or 0) + 1
    session.add(Version(model=name, number=number, digest=digest, manifest=manifest, created_at=now, deleted_at=None))
    session.flush()
    card = {"created_by": actor, "measured": measured, "tags": (), "notes": "", "imported": imported}
    session.add(VersionCardRow(model=name, number=number, **card))
    return number, True


def version_of(session: Session, model: str, number: int) -> Version:
    """Raises NotFound, also for a version that was deleted."""
    version = session.get(Version, (model, number))
    if version is None or version.deleted_at is not None:
        raise NotFound(f"model {model!r} has no version {number}")
    return version


def alias_of(session: Session, model: str, alias: str) -> int | None:
    row = session.get(Alias, (model, alias))
    return row.version if row else None


def point(
    session: Session, model: str, alias: str, to: int | None, *, why: str, actor: str, now: float, rollout: str | None
) -> None:
    """Let the alias point to version `to` (None: nowhere), with a line in its history. Lock the model first."""
    row = session.get(Alias, (model, alias))
    was = row.version if row else None
    if was == to:
        return
    if to is None:
        session.delete(row)
    elif row is None:
        session.add(Alias(model=model, alias=alias, version=to))
    else:
        row.version = to
    session.add(
        AliasMove(model=model, alias=alias, was=was, version=to, rollout=rollout, reason=why, actor=actor, at=now)
    )
    session.flush()


def previous_before(session: Session, rollout: str) -> int | None:
    """Where `previous` pointed before this rollout's promotion moved it."""
    query = (
        select(AliasMove.was)
        .where(AliasMove.rollout == rollout, AliasMove.alias == "previous")
        .order_by(AliasMove.id)
        .limit(1)
    )
    return session.scalar(query)
