"""The decision: what becomes of a rollout, given the facts. Pure: no clock, no database, no I/O.

Evidence that is violated is heeded before anything else, in every phase and before every command. Evidence that is
missing, old, erroneous or inconclusive holds. Each call makes one move at most; call again until nothing changes."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from controller import preflights
from controller.actions import Refuse
from controller.commands import obey
from controller.gates import FRESH_S, overdue, undecided, waits_for
from controller.rehearsal import condemned
from controller.remarks import noted_lack, remark
from controller.rollouts import Facts, Rollout, illegal, move
from controller.transitions import (
    RENEW_LEFT_S,
    SHARES_S,
    Decision,
    alert,
    alive,
    begin_preflight,
    begin_shadow,
    end,
    load,
    next_step,
    promote,
)
from controller.turns import take_turn
from serinus.rollouts import Phase, Trigger

__all__ = ["decide"]


def decide(rollout: Rollout, facts: Facts, now: float) -> Decision:
    """The rollout after this look, and what is to be done beside. `now`: wall time, Unix seconds.

    Raises IllegalMove, with the history, for a command that the phase does not allow."""
    if not rollout.active:
        if facts.ask:
            raise illegal(rollout, f"{facts.ask.command} came after its end, {rollout.phase}")
        return rollout, ()
    if rollout.phase is Phase.QUEUED:
        return obey(rollout, facts, facts.ask, now) if facts.ask else take_turn(rollout, facts, now)
    rollout = _noted(rollout, facts, now)
    why, by = condemned(rollout, facts)
    if why and not rollout.plan.dry_run:
        return _violated(replace(rollout, verdict="violated"), by, why, now)
    if facts.ask:
        return obey(rollout, facts, facts.ask, now)
    after, actions = _progress(rollout, facts, now)
    after, remarks = remark(after, facts, now)
    return _renewed(after, facts, now), (*actions, *remarks)


def _noted(rollout: Rollout, facts: Facts, now: float) -> Rollout:
    """With the newest verdict, and with the clocks that could not start while no watermark was known."""
    started, since = rollout.started_event_ms, rollout.since_event_ms
    if rollout.expires_at is not None:  # it has shares
        started = facts.watermark_ms if started is None else started
        since = facts.watermark_ms if since is None else since
    verdict = facts.evidence.verdict if facts.evidence else rollout.verdict
    lacks = noted_lack(rollout, facts, now)
    return replace(rollout, verdict=verdict, started_event_ms=started, since_event_ms=since, lacking_since=lacks)


def _violated(rollout: Rollout, facts: Facts, why: str, now: float) -> Decision:
    ask, facts = facts.ask, replace(facts, ask=None)  # the controller does it, whoever else asked for what
    after, actions = end(rollout, Phase.ROLLED_BACK, facts, now, why, trigger="violated")
    if ask and ask.command not in ("abort", "rollback"):
        actions = (*actions, Refuse(f"{ask.command} came too late: rollout {rollout.id} was rolled back, {why}"))
    return after, actions


def _progress(rollout: Rollout, facts: Facts, now: float) -> Decision:  # noqa: PLR0911 one return a phase
    phase, is_open = rollout.phase, waits_for(rollout, facts, now) == ""
    match phase:
        case Phase.PENDING:
            return load(rollout, facts, now)
        case Phase.LOADING:
            return _loading(rollout, facts, now)
        case Phase.SHADOW | Phase.CANARY | Phase.RAMP:
            if is_open:
                return _onward(rollout, facts, now)
            if overdue(rollout, facts):
                why = f"{rollout.plan.max_duration_s} s of event time went by; undecided: {undecided(facts)}"
                return _await(rollout, facts, now, why, "overdue")
        case Phase.BAKE:
            if is_open:
                why = f"nothing was violated in {rollout.plan.bake_s} s of bake"
                return end(rollout, Phase.DONE, facts, now, why, trigger="held")
        case Phase.PREFLIGHT:
            return _preflight(rollout, facts, now)
        case Phase.PAUSED | Phase.AWAITING_APPROVAL:
            pass
        case Phase.QUEUED | Phase.DONE | Phase.ROLLED_BACK | Phase.ABORTED | Phase.SUPERSEDED:
            raise illegal(rollout, f"there is no progress in {phase}")
        case _:
            assert_never(phase)
    return rollout, ()


def _onward(rollout: Rollout, facts: Facts, now: float) -> Decision:
    """Everything that the phase needs is there: the next step, the promotion, or somebody's word before it."""
    gate = rollout.step > 0 and rollout.plan.steps[rollout.step - 1].gate == "manual"
    if gate:
        why = f"step {rollout.step} has all that it needs, and a manual gate"
        return _await(rollout, facts, now, why, "gate")
    if not rollout.last_step:
        return next_step(rollout, facts, now)
    why = "every step was held and every required guard is satisfied"
    if rollout.plan.dry_run:
        return _await(rollout, facts, now, f"a dry run: it would have been promoted: {why}", "gate")
    return promote(rollout, facts, now, why, "held")


def _loading(rollout: Rollout, facts: Facts, now: float) -> Decision:
    failed = [
        f"{report.replica} ({report.role}): {report.failed[rollout.candidate_digest]}"
        for report in facts.replicas
        if rollout.candidate_digest in report.failed
    ]
    if failed:
        why = f"version {rollout.candidate} could not be loaded by {'; '.join(failed)}"
        return end(rollout, Phase.ROLLED_BACK, facts, now, why, trigger="unloadable")
    missing = waits_for(rollout, facts, now)
    if not missing:
        begin = begin_preflight if rollout.plan.preflight else begin_shadow
        return begin(rollout, facts, now)
    if rollout.deadline_at is not None and alive(facts, now) > rollout.deadline_at:
        why = f"the time for loading is over; missing: {missing}"
        return end(rollout, Phase.ROLLED_BACK, facts, now, why, trigger="unloadable")
    return rollout, ()


def _preflight(rollout: Rollout, facts: Facts, now: float) -> Decision:
    """It may reject, never promote: whatever else comes of it, and when nothing does in time, the rollout goes on."""
    late = rollout.deadline_at is not None and alive(facts, now) > rollout.deadline_at
    why, quiet = preflights.outcome(rollout, facts, waits_for(rollout, facts, now), late=late)
    if not why:
        return rollout, ()
    if facts.replay:  # what it rests on, if there is any
        facts = replace(facts, evidence=facts.replay.evidence)
    after, actions = begin_shadow(rollout, facts, now, why, "cleared")
    text = f"{rollout.model}: version {rollout.candidate} goes to its shadow: {why}"
    return after, actions if quiet else (*actions, alert(rollout, "rollout", text, facts))


def _await(rollout: Rollout, facts: Facts, now: float, why: str, trigger: Trigger) -> Decision:
    after = move(rollout, Phase.AWAITING_APPROVAL, why, facts, now, trigger=trigger)
    text = f"{rollout.model}: version {rollout.candidate} awaits approval: {why}"
    return after, (alert(rollout, "awaiting_approval", text, facts),)


def _renewed(rollout: Rollout, facts: Facts, now: float) -> Rollout:
    """Shares go on only while somebody watches: a living monitor, and we ourselves."""
    watched = facts.monitor_seen_at is not None and now - facts.monitor_seen_at <= FRESH_S
    if rollout.expires_at is None or not watched or rollout.expires_at - now >= RENEW_LEFT_S:
        return rollout
    return replace(rollout, expires_at=now + SHARES_S)
