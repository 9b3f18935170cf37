"""One step of one rollout: read, decide, record, all in one transaction; and how a rollout starts."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import fields

from sqlalchemy import select
from sqlalchemy.orm import Session

from controller import leases
from controller.actions import Alert, Refuse
from controller.audit import audit
from controller.database import Database, wakes
from controller.decide import decide
from controller.facts import read_facts
from controller.preflight_jobs import follow, keep_replay
from controller.queueing import last_place
from controller.records import act, record
from controller.registry import alias_of, check_comparable, check_covers, point, version_of
from controller.rollouts import Ask, Facts, Rollout
from controller.routes import UriOf, publish
from controller.rows import active_rollout, as_rollout, lock_model, lock_rollout, save
from controller.signatures import check_signed
from controller.tables import Model, RolloutRow
from controller.transitions import end
from serinus.errors import AlreadyActive, BadInput, IllegalMove, KeyReused
from serinus.evidence import METHOD
from serinus.plans import check_plan
from serinus.rollouts import Phase, Plan

__all__ = ["advance", "promote_now", "start"]

log = logging.getLogger(__name__)


def advance(
    db: Database,
    rollout_id: str,
    uri_of: UriOf,
    now: float,
    *,
    ask: Ask | None = None,
    lease: str | None = None,
    expect: Callable[[Rollout], object] = bool,
) -> bool:
    """Take one step of the rollout, by the facts and perhaps a command: True when anything changed.

    The row, the aliases and the route table change together or not at all, so it may be killed anywhere. `lease`: the
    reconciler that acts; without it no step is taken (Stale). `expect` is called with the rollout as it is, locked, and
    may raise. Raises IllegalMove, NotFound."""
    with db.write() as session:
        if lease is not None:
            leases.require(session, lease, now)
        model, row = lock_rollout(session, rollout_id)
        before = as_rollout(row)
        expect(before)
        facts = read_facts(session, model, before, now, ask=ask)
        after, actions = decide(before, facts, now)
        if after.promoted and not before.promoted:
            check_signed(session, model, before.candidate_digest)
        if after == before and not actions:
            follow(session, row, uri_of, now)
            return False
        keep_replay(session, before, facts.replay, now)
        save(row, after)
        if before.phase is Phase.QUEUED and after.running:
            _as_of_now(row, model)
        session.flush()
        follow(session, row, uri_of, now)
        for action in actions:
            act(session, model, after, action, now)
        publish(session, model, uri_of)
        record(session, before, after, ask, now)
        wakes(session, f"facts:{model.name}")
    for action in actions:
        match action:
            case Alert():
                log.warning("%s", action.text)
            case Refuse(why):
                raise IllegalMove(why)
    return True


def _as_of_now(row: RolloutRow, model: Model) -> None:
    """A rollout whose turn has come is judged by the SLA and the formulas of now."""
    row.sla, row.method = model.sla, METHOD
    model.warm = None


def start(
    session: Session,
    name: str,
    version: int,
    plan: Plan | None,
    *,
    why: str,
    actor: str,
    now: float,
    queue: bool = False,
    skip_preflight: bool = False,
    key: str | None = None,
    caller: str = "",
) -> Rollout:
    """Begin a rollout of `version` against stable; with `queue`, once those before it have ended.

    `plan`: None means that of the SLA. `skip_preflight`: whatever the plan says of it. `key`: the rollout that was
    begun by it is given instead, if there is one.

    Raises NotFound, AlreadyActive, IllegalMove, InvalidPackage, BadInput, KeyReused."""
    model = lock_model(session, name)
    if key is not None and (known := _begun_by(session, key, name, version)) is not None:
        return known
    candidate = version_of(session, name, version)
    check_covers(model.sla, candidate.manifest)
    check_signed(session, model, candidate.digest)
    plan = plan or model.sla.rollout
    if skip_preflight:
        plan = plan.model_copy(update={"preflight": None})
    check_plan(plan, model.sla)
    waiting = select(RolloutRow).where(RolloutRow.model == name, RolloutRow.phase == Phase.QUEUED)
    busy = active_rollout(session, name) is not None or session.scalars(waiting).first() is not None
    if busy and not queue:
        raise _taken(session, name)
    stable = alias_of(session, name, "stable")
    if stable is None:
        raise IllegalMove(f"{name} has no stable version to compare with", "promote the first version with `initial`")
    if stable == version:
        raise IllegalMove(f"version {version} of {name} is stable already", "push another version")
    check_comparable(model.sla, version_of(session, name, stable).manifest, candidate.manifest)
    _check_retry(session, name, version, why)
    rollout = Rollout(
        id=uuid.uuid4().hex,
        model=name,
        candidate=version,
        candidate_digest=candidate.digest,
        baseline=stable,
        plan=plan,
        started_at=now,
        phase=Phase.QUEUED if busy else Phase.PENDING,
        place=last_place(session, name, version),
    )
    values = {field.name: getattr(rollout, field.name) for field in fields(Rollout)}
    values["key"] = key
    active = name if rollout.running else None
    session.add(RolloutRow(**values, active_model=active, sla=model.sla, method=METHOD, reason=why, actor=actor))
    if rollout.running:
        model.warm = None
    session.flush()
    detail = {"model": name, "candidate": version, "baseline": stable, "phase": str(rollout.phase), "reason": why}
    told = {**detail, "in_the_name_of": actor, "plan": plan.model_dump(mode="json")}
    if plan.preflight is None and model.sla.rollout.preflight is not None:
        told["preflight"] = "skipped"
    audit(
        session, actor=caller or actor, action="rollout.start", subject=f"rollouts/{rollout.id}", detail=told, now=now
    )
    wakes(session, f"facts:{name}")
    return rollout


def _begun_by(session: Session, key: str, model: str, version: int) -> Rollout | None:
    row = session.scalars(select(RolloutRow).where(RolloutRow.key == key)).one_or_none()
    if row is None:
        return None
    if (row.model, row.candidate) != (model, version):
        raise KeyReused(f"rollout {row.id}, of version {row.candidate} of {row.model}, was begun by the key {key}")
    return as_rollout(row)


def _taken(session: Session, name: str) -> AlreadyActive:
    if active := active_rollout(session, name):
        return AlreadyActive(
            f"rollout {active.id} of version {active.candidate} of {name} is active: {active.phase}",
            "wait for it, `serinus rollout abort` it, or start this one with `queue`",
        )
    return AlreadyActive(f"rollouts of {name} wait for their turn", "start this one with `queue`, or abort those")


def _check_retry(session: Session, name: str, version: int, why: str) -> None:
    """Raise BadInput when the version was rolled back and nobody says why it should fare better now."""
    fate = (RolloutRow.candidate == version, RolloutRow.phase == Phase.ROLLED_BACK)
    query = select(RolloutRow.id).where(RolloutRow.model == name, *fate).limit(1)
    if not why.strip() and (before := session.scalar(query)) is not None:
        raise BadInput(
            f"version {version} of {name} was rolled back in rollout {before}: to try it again needs a reason",
            "say what is different now with `reason`; evidence is gathered anew",
        )


def promote_now(
    session: Session, name: str, version: int, uri_of: UriOf, *, ask: Ask, initial: bool, now: float
) -> None:
    """Make `version` stable at once, by a human's word. An active rollout is superseded.

    `initial`: only when there is no stable version yet. Raises NotFound, BadInput, IllegalMove."""
    model = lock_model(session, name)
    chosen = version_of(session, name, version)
    check_covers(model.sla, chosen.manifest)
    check_signed(session, model, chosen.digest)
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
        facts = Facts(watermark_ms=model.watermark_ms, ask=ask)
        before = as_rollout(row)
        after, _ = end(before, Phase.SUPERSEDED, facts, now, why, trigger="superseded")
        save(row, after)
        follow(session, row, uri_of, now)
    if stable != version:
        why = ask.reason or "the first version"
        point(session, name, "previous", stable, why=why, actor=ask.actor, now=now, rollout=None)
        point(session, name, "stable", version, why=why, actor=ask.actor, now=now, rollout=None)
        model.warm = stable
    session.flush()
    publish(session, model, uri_of)
    if active is not None:
        record(session, before, after, ask, now)
    audit(
        session,
        actor=ask.caller or ask.actor,
        action="version.promote",
        subject=f"models/{name}/versions/{version}",
        detail={"was": stable, "initial": initial, "reason": ask.reason, "in_the_name_of": ask.actor},
        now=now,
    )
    wakes(session, f"facts:{name}")
