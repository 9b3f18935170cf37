"""Human commands: which phase allows which, and what they do. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from controller.rollouts import Ask, Facts, Rollout, illegal, move
from controller.transitions import Decision, begin_preflight, begin_shadow, end, load, promote
from serinus.errors import BadInput
from serinus.rollouts import Command, Phase

__all__ = ["obey"]

_EARLY: frozenset[Command] = frozenset({"pause", "abort", "rollback"})
_MIDDLE: frozenset[Command] = _EARLY | {"promote"}
_BAKE: frozenset[Command] = frozenset({"pause", "rollback", "promote"})
ALLOWED: dict[Phase, frozenset[Command]] = {
    Phase.PENDING: _EARLY,
    Phase.LOADING: _EARLY,
    Phase.PREFLIGHT: _MIDDLE | {"approve"},
    Phase.SHADOW: _MIDDLE,
    Phase.CANARY: _MIDDLE,
    Phase.RAMP: _MIDDLE,
    Phase.BAKE: _BAKE,
    Phase.AWAITING_APPROVAL: frozenset({"approve", "abort", "rollback", "promote"}),
}
"""In the bake the candidate is stable already: `abort` would be ambiguous, so it is `rollback` or `promote` (which
ends the bake). In the preflight `approve` goes on without it. A paused rollout takes `resume` and what the phase it was
paused in takes, but `pause`."""


def obey(rollout: Rollout, facts: Facts, ask: Ask, now: float) -> Decision:  # noqa: PLR0911 one return a command
    """The rollout after the command. Raises IllegalMove, with the history, when the phase does not allow it."""
    if ask.command not in _allowed(rollout):
        can = ", ".join(sorted(_allowed(rollout)))
        raise illegal(rollout, f"{ask.command} is not possible in {_where(rollout)}, only {can}")
    why = f"{ask.command}: {ask.reason}" if ask.reason else ask.command
    match ask.command:
        case "pause":
            after = move(rollout, Phase.PAUSED, why, facts, now)
            return replace(
                after,
                paused_from=rollout.phase,
                paused_event_ms=facts.watermark_ms,
                since_event_ms=rollout.since_event_ms,
            ), ()
        case "resume":
            return _resume(rollout, facts, now, why)
        case "approve":
            return _approve(rollout, facts, ask, now, why)
        case "promote":
            if not ask.reason.strip():
                raise BadInput("promote overrides the evidence, so it needs a reason")
            if rollout.promoted:
                return end(rollout, Phase.DONE, facts, now, why)
            return promote(rollout, facts, now, why)
        case "abort":
            return end(rollout, Phase.ABORTED, facts, now, why)
        case "rollback":
            return end(rollout, Phase.ROLLED_BACK, facts, now, why)
    assert_never(ask.command)


def _approve(rollout: Rollout, facts: Facts, ask: Ask, now: float, why: str) -> Decision:
    if not rollout.in_preflight:
        return promote(rollout, facts, now, why)
    if not ask.reason.strip():
        raise BadInput("approve goes on without the preflight, so it needs a reason")
    return begin_shadow(rollout, facts, now, why)


def _allowed(rollout: Rollout) -> frozenset[Command]:
    if rollout.phase is Phase.PAUSED and rollout.paused_from is not None:
        return ALLOWED[rollout.paused_from] - {"pause"} | {"resume"}
    return ALLOWED[rollout.phase]


def _where(rollout: Rollout) -> str:
    return f"{rollout.phase} (from {rollout.paused_from})" if rollout.paused_from else str(rollout.phase)


def _resume(rollout: Rollout, facts: Facts, now: float, why: str) -> Decision:
    """Back to where it was. Event time that went by while it was paused counts for no hold."""
    back = rollout.paused_from or Phase.PENDING
    if back is Phase.LOADING:
        loading, actions = load(rollout, facts, now, why)
        return replace(loading, paused_from=None, paused_event_ms=None), actions
    if back is Phase.PREFLIGHT:
        return begin_preflight(rollout, facts, now, why)
    since = facts.watermark_ms
    if None not in (rollout.since_event_ms, rollout.paused_event_ms, since):
        since = (rollout.since_event_ms or 0) + (since or 0) - (rollout.paused_event_ms or 0)
    after = move(rollout, back, why, facts, now)
    return replace(after, paused_from=None, paused_event_ms=None, since_event_ms=since), ()
