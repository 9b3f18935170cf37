"""The route table of a model, derived from its rows and from nothing else."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import select
from sqlalchemy.orm import Session

from controller.database import wakes
from controller.registry import alias_of
from controller.rollouts import Rollout
from controller.rows import active_rollout
from controller.tables import Model, Route, Version
from controller.weights import current_weights
from serinus.rollouts import Phase
from serinus.routes import HeadPolicy, PackageRef, RouteTable, Weights

__all__ = ["Packages", "UriOf", "derive", "publish"]

UriOf = Callable[[str], str]
"""Digest of a package -> URI of its folder."""
Packages = dict[int, tuple[tuple[str, ...], PackageRef]]
"""Version -> its tasks and its package."""


def derive(
    model: Model,
    stable: int,
    rollout: Rollout | None,
    packages: Packages,
    *,
    epoch: int,
    weights: Weights | None = None,
) -> RouteTable:
    """What the replicas should do now. Pure.

    While a rollout is active the version that is not stable is the candidate: before the promotion the new one, in
    the bake the old one, as its shadow. It is listed from `loading` on, so that the replicas fetch it. What was stable
    before a promotion stays warm, so that going back takes milliseconds."""

    def tasks(number: int) -> dict[str, int]:
        return dict.fromkeys(packages[number][0], number)

    other = None
    if rollout is not None and rollout.phase is not Phase.PENDING:
        other = rollout.baseline if rollout.promoted else rollout.candidate
    warm = (model.warm,) if model.warm not in (None, stable) else ()
    named = {stable, *([other] if other is not None else []), *warm}
    return RouteTable(
        model=model.name,
        epoch=epoch,
        stable=tasks(stable),
        candidate=None if other is None else tasks(other),
        canary_bp=rollout.canary_bp if rollout and other is not None else 0,
        shadow_bp=rollout.shadow_bp if rollout and other is not None else 0,
        rollout=rollout.id if rollout and other is not None else None,
        salt=rollout.id if rollout and other is not None else "",
        expires_at=rollout.expires_at if rollout and other is not None else None,
        warm=tuple(number for number in warm if number is not None),
        packages={number: packages[number][1] for number in sorted(n for n in named if n is not None)},
        slices=tuple(sorted(model.sla.slice_features)),
        weights=weights or {},
        heads={name: task.head for name, task in model.sla.tasks.items() if task.head != HeadPolicy()},
        serving=model.sla.serving,
    )


def publish(session: Session, model: Model, uri_of: UriOf) -> bool:
    """Write the model's route table with the next epoch when it differs: True when it did. Lock the model first."""
    stable = alias_of(session, model.name, "stable")
    if stable is None:
        return False
    row = session.get(Route, model.name)
    packages: Packages = {
        version.number: (version.manifest.task_names, PackageRef(digest=version.digest, uri=uri_of(version.digest)))
        for version in session.scalars(select(Version).where(Version.model == model.name))
    }
    rollout, weights = active_rollout(session, model.name), current_weights(session, model.name)
    table = derive(model, stable, rollout, packages, epoch=row.epoch if row else 1, weights=weights)
    if row is None:
        session.add(Route(model=model.name, epoch=1, body=table))
    elif table == row.body:
        return False
    else:
        row.epoch += 1
        row.body = table.model_copy(update={"epoch": row.epoch})
    wakes(session, f"routes:{model.name}", f"pool:{model.pool}")
    return True
