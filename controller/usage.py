"""Who uses a version or a model: what must end before it may be deleted."""

from __future__ import annotations

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from controller.rows import live_replicas
from controller.tables import Alias, JobRow, Model, RolloutRow, Version
from serinus.rollouts import Phase

__all__ = ["users_of_model", "users_of_version"]


def users_of_version(session: Session, model: Model, version: Version, now: float) -> list[str]:
    """Aliases, rollouts that go on or wait, the warm version, replicas that have it loaded: in words, [] when none."""
    aliases = select(Alias.alias).where(Alias.model == model.name, Alias.version == version.number)
    found = [f"alias {alias!r}" for alias in session.scalars(aliases.order_by(Alias.alias))]
    sides = or_(RolloutRow.candidate == version.number, RolloutRow.baseline == version.number)
    found += _rollouts(session, model.name, sides)
    if model.warm == version.number:
        found.append("the way back: it is kept warm as what was stable before")
    reports = live_replicas(session, model.pool, now)
    return found + [f"replica {report.replica!r}" for report in reports if version.digest in report.loaded]


def users_of_model(session: Session, model: Model, retire: bool) -> list[str]:
    """Rollouts and jobs that go on or wait; its stable version, unless it may be retired."""
    found = _rollouts(session, model.name, RolloutRow.model == model.name)
    jobs = select(JobRow.id).where(JobRow.model == model.name, JobRow.state.in_(("queued", "running")))
    found += [f"job {job!r}" for job in session.scalars(jobs.order_by(JobRow.id))]
    stable = session.get(Alias, (model.name, "stable"))
    if stable is not None and not retire:
        found.append(f"its callers: version {stable.version} is stable (`retire` ends that, too)")
    return found


def _rollouts(session: Session, model: str, which: object) -> list[str]:
    on = or_(RolloutRow.active_model.is_not(None), RolloutRow.phase == Phase.QUEUED)
    query = select(RolloutRow.id, RolloutRow.phase).where(RolloutRow.model == model, on, which)  # type: ignore[arg-type]
    return [f"rollout {row.id} ({row.phase})" for row in session.execute(query.order_by(RolloutRow.id))]
