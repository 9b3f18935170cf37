"""What monitors must know of a rollout, or of a model, to look at it."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from controller.routes import UriOf
from controller.tables import Alias, Model, RolloutRow, Version
from serinus.evidence import Watched, WorkItem
from serinus.routes import PackageRef

__all__ = ["item_of", "watched"]


def item_of(
    session: Session,
    row: RolloutRow,
    uri_of: UriOf,
    *,
    alpha: float,
    since_ms: int,
    last_tick_ms: int | None = None,
) -> WorkItem:
    """What a monitor must know of a rollout."""
    return WorkItem(
        rollout=row.id,
        model=row.model,
        sla=row.sla,
        baseline=row.baseline,
        candidate=row.candidate,
        alpha=alpha,
        started_event_ms=since_ms,
        last_tick_ms=last_tick_ms,
        method=row.method,
        shadow=row.plan.shadow_bp > 0,
        packages=_packages(session, row.model, (row.baseline, row.candidate), uri_of),
    )


def _packages(session: Session, model: str, versions: Iterable[int], uri_of: UriOf) -> dict[int, PackageRef]:
    query = select(Version.number, Version.digest).where(Version.model == model, Version.number.in_(versions))
    return {number: PackageRef(digest=digest, uri=uri_of(digest)) for number, digest in session.execute(query)}


def watched(session: Session, uri_of: UriOf) -> tuple[Watched, ...]:
    """Every model that has a stable version, with its SLA of now and that version's package."""
    query = (
        select(Model.name, Model.sla, Version.number, Version.digest)
        .join(Alias, (Alias.model == Model.name) & (Alias.alias == "stable"))
        .join(Version, (Version.model == Alias.model) & (Version.number == Alias.version))
        .order_by(Model.name)
    )
    return tuple(
        Watched(model=name, sla=sla, stable=stable, package=PackageRef(digest=digest, uri=uri_of(digest)))
        for name, sla, stable, digest in session.execute(query)
    )
