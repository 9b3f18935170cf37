"""Human commands: what they do, and what they need. Pure. Which phase takes which is in `serinus.transitions`."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from controller.gates import failing, shut
from controller.rollouts import Ask, Facts, Rollout, illegal, move
from controller.transitions import Decision, begin_preflight, begin_shadow, end, load, next_step, promote
from serinus.errors import BadInput, IllegalMove
from serinus.rollouts import Phase

__all__ = ["obey"]


def obey(rollout: Rollout, facts: Facts, ask: Ask, now: float) -> Decision:  # noqa: PLR0911 one return a command
    """The rollout after the command. Raises IllegalMove, with the history, when the phase does not allow it, and
    BadInput when it lacks a reason."""
    if ask.command not in rollout.allowed:
        can = ", ".join(sorted(rollout.allowed))
        raise illegal(rollout, f"{ask.command} is not possible in {_where(rollout)}, only {can}")
    if (overrides := _overrides(rollout, facts, ask)) and not ask.reason.strip():
        raise BadInput(f"{ask.command} {overrides}, so it needs a reason")
    why = f"{ask.command}: {ask.reason}" if ask.reason else ask.command
    match ask.command:
        case "pause":
            after = move(rollout, Phase.PAUSED, why, facts, now, trigger="pause")
            return replace(
                after,
                paused_from=rollout.phase,
                paused_event_ms=facts.watermark_ms,
                since_event_ms=rollout.since_event_ms,
            ), ()
        case "resume":
            return _resume(rollout, facts, now, why)
        case "approve" | "skip":
            return _go_on(rollout, facts, ask, now, why)
        case "promote":
            if rollout.promoted:
                return end(rollout, Phase.DONE, facts, now, why, trigger="promote")
            return promote(rollout, facts, now, why, "promote")
        case "abort":
            return end(rollout, Phase.ABORTED, facts, now, why, trigger="abort")
        case "rollback":
            return end(rollout, Phase.ROLLED_BACK, facts, now, why, trigger="rollback")
    assert_never(ask.command)


def _overrides(rollout: Rollout, facts: Facts, ask: Ask) -> str:
    """What of the evidence the command overrides; "" when it overrides nothing."""
    if ask.command in ("promote", "skip"):
        return "overrides the evidence"
    if ask.command != "approve":
        return ""
    if rollout.in_preflight:
        return "goes on without the preflight"
    if facts.evidence is not None and facts.evidence.verdict == "violated":  # a dry run
        return "overrides evidence that is violated"
    return "" if rollout.at_gate else "overrides guards that are undecided"


def _go_on(rollout: Rollout, facts: Facts, ask: Ask, now: float, why: str) -> Decision:
    """To the phase or step that comes next. A larger share needs replicas that hold it, and an open window."""
    trigger = ask.command
    if rollout.in_preflight:
        return begin_shadow(rollout, facts, now, why, trigger)
    if closed := failing(rollout, facts) or shut(rollout, facts, now):
        raise IllegalMove(
            f"rollout {rollout.id}: {ask.command} has to wait for {closed}",
            "`promote` with a reason overrides that, and makes the candidate stable at once",
        )
    if ask.command == "skip" or (rollout.at_gate and not rollout.last_step):
        return next_step(rollout, facts, now, why, trigger)
    return promote(rollout, facts, now, why, trigger)


def _where(rollout: Rollout) -> str:
    return f"{rollout.phase} (from {rollout.paused_from})" if rollout.paused_from else str(rollout.phase)


def _resume(rollout: Rollout, facts: Facts, now: float, why: str) -> Decision:
    """Back to where it was. Event time that went by while it was paused counts for no hold."""
    back = rollout.paused_from or Phase.PENDING
    if back is Phase.LOADING:
        loading, actions = load(rollout, facts, now, why, "resume")
        return replace(loading, paused_from=None, paused_event_ms=None), actions
    if back is Phase.PREFLIGHT:
        return begin_preflight(rollout, facts, now, why, "resume")
    since = facts.watermark_ms
    if None not in (rollout.since_event_ms, rollout.paused_event_ms, since):
        since = (rollout.since_event_ms or 0) + (since or 0) - (rollout.paused_event_ms or 0)
    after = move(rollout, back, why, facts, now, trigger="resume")
    return replace(after, paused_from=None, paused_event_ms=None, since_event_ms=since), ()
