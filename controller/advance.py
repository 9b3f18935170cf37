"""One step of one rollout: read, decide, record, all in one transaction; and how a rollout starts."""

from __future__ import annotations

import logging
import uuid
from dataclasses import fields
from typing import assert_never

from sqlalchemy.orm import Session

from controller import leases
from controller.actions import Action, Alert, Promote, Refuse, Restore
from controller.database import Database, wakes
from controller.decide import decide
from controller.facts import read_facts
from controller.preflight_jobs import follow, keep_replay
from controller.registry import alias_of, check_comparable, check_covers, point, previous_before, version_of
from controller.rollouts import Ask, Facts, Rollout
from controller.routes import UriOf, publish
from controller.rows import active_rollout, as_rollout, lock_model, lock_rollout, save
from controller.tables import Model, RolloutRow
from controller.transitions import end
from serinus.errors import AlreadyActive, BadInput, IllegalMove
from serinus.evidence import METHOD
from serinus.rollouts import Phase, Plan

__all__ = ["advance", "promote_now", "start"]

log = logging.getLogger(__name__)


def advance(
    db: Database, rollout_id: str, uri_of: UriOf, now: float, *, ask: Ask | None = None, lease: str | None = None
) -> bool:
    """Take one step of the rollout, by the facts and perhaps a command: True when anything changed.

    The row, the aliases and the route table change together or not at all, so it may be killed anywhere. `lease`: the
    reconciler that acts; without it no step is taken (Stale). Raises IllegalMove, NotFound."""
    with db.write() as session:
        if lease is not None:
            leases.require(session, lease, now)
        model, row = lock_rollout(session, rollout_id)
        before = as_rollout(row)
        facts = read_facts(session, model, before, now, ask)
        after, actions = decide(before, facts, now)
        if after == before and not actions:
            follow(session, row, uri_of, now)
            return False
        keep_replay(session, before, facts.replay, now)
        save(row, after)
        session.flush()
        follow(session, row, uri_of, now)
        for action in actions:
            _act(session, model, after, action, now)
        publish(session, model, uri_of)
        wakes(session, "facts")
    for action in actions:
        match action:
            case Alert(text):
                log.warning("%s", text)
            case Refuse(why):
                raise IllegalMove(why)
    return True


def _act(session: Session, model: Model, rollout: Rollout, action: Action, now: float) -> None:
    """Move the aliases. Doing it twice moves nothing the second time."""
    who = rollout.history[-1].actor
    match action:
        case Promote(version, why):
            stable = alias_of(session, model.name, "stable")
            if stable != version:
                point(session, model.name, "previous", stable, why=why, actor=who, now=now, rollout=rollout.id)
            point(session, model.name, "stable", version, why=why, actor=who, now=now, rollout=rollout.id)
            model.warm = rollout.baseline
        case Restore(version, why):
            before = previous_before(session, rollout.id)
            point(session, model.name, "stable", version, why=why, actor=who, now=now, rollout=rollout.id)
            point(session, model.name, "previous", before, why=why, actor=who, now=now, rollout=rollout.id)
            model.warm = None
        case Alert() | Refuse():
            pass
        case _:
            assert_never(action)


def start(session: Session, name: str, version: int, plan: Plan | None, *, why: str, actor: str, now: float) -> Rollout:
    """Begin a rollout of `version` against stable. Raises NotFound, AlreadyActive, IllegalMove, InvalidPackage."""
    model = lock_model(session, name)
    candidate = version_of(session, name, version)
    check_covers(model.sla, candidate.manifest)
    if active := active_rollout(session, name):
        raise AlreadyActive(f"rollout {active.id} of version {active.candidate} of {name} is active: {active.phase}")
    stable = alias_of(session, name, "stable")
    if stable is None:
        raise IllegalMove(f"{name} has no stable version to compare with", "promote the first version with `initial`")
    if stable == version:
        raise IllegalMove(f"version {version} of {name} is stable already", "push another version")
    check_comparable(model.sla, version_of(session, name, stable).manifest, candidate.manifest)
    rollout = Rollout(
        id=uuid.uuid4().hex,
        model=name,
        candidate=version,
        candidate_digest=candidate.digest,
        baseline=stable,
        plan=plan or model.sla.rollout,
        started_at=now,
    )
    values = {field.name: getattr(rollout, field.name) for field in fields(Rollout)}
    session.add(RolloutRow(**values, active_model=name, sla=model.sla, method=METHOD, reason=why, actor=actor))
    model.warm = None
    session.flush()
    wakes(session, "facts")
    return rollout


def promote_now(
    session: Session, name: str, version: int, uri_of: UriOf, *, ask: Ask, initial: bool, now: float
) -> None:
    """Make `version` stable at once, by a human's word. An active rollout is superseded.

    `initial`: only when there is no stable version yet. Raises NotFound, BadInput, IllegalMove."""
    model = lock_model(session, name)
    check_covers(model.sla, version_of(session, name, version).manifest)
    stable = alias_of(session, name, "stable")
    active = active_rollout(session, name)
    if stable == version and active is None:
        return
    if initial and stable is not None:
        raise IllegalMove(f"{name} has a stable version already, {stable}", "start a rollout, or promote with a reason")
    if not initial and not ask.reason.strip():
        raise BadInput("promote overrides the evidence, so it needs a reason")
    if active is not None:
        _, row = lock_rollout(session, active.id)
        why = f"version {version} was promoted directly: {ask.reason}"
        after, _ = end(as_rollout(row), Phase.SUPERSEDED, Facts(watermark_ms=model.watermark_ms, ask=ask), now, why)
        save(row, after)
        follow(session, row, uri_of, now)
    if stable != version:
        why = ask.reason or "the first version"
        point(session, name, "previous", stable, why=why, actor=ask.actor, now=now, rollout=None)
        point(session, name, "stable", version, why=why, actor=ask.actor, now=now, rollout=None)
        model.warm = stable
    session.flush()
    publish(session, model, uri_of)
    wakes(session, "facts")
