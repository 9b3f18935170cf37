"""A rollout in the queue of its model: it begins by itself when nothing is before it. Pure."""

from __future__ import annotations

from dataclasses import replace

from controller.gates import waits_for
from controller.rollouts import Facts, Rollout, move
from controller.transitions import Decision, alert, end
from serinus.rollouts import Phase

__all__ = ["take_turn"]


def take_turn(rollout: Rollout, facts: Facts, now: float) -> Decision:
    """Begin, against whatever is stable now; or end, where that makes no sense any more."""
    if waits_for(rollout, facts, now) or facts.stable is None:
        return rollout, ()
    if facts.stable == rollout.candidate:
        why = f"version {rollout.candidate} became stable while it was queued"
        return end(rollout, Phase.SUPERSEDED, facts, now, why, trigger="overtaken")
    if facts.unfit:
        after, actions = end(rollout, Phase.ABORTED, facts, now, facts.unfit, trigger="unfit")
        text = f"{rollout.model}: the queued rollout of version {rollout.candidate} cannot begin: {facts.unfit}"
        return after, (*actions, alert(rollout, "rollout", text, facts))
    why = "nothing is before it in the queue"
    if facts.stable != rollout.baseline:
        why += f"; stable is version {facts.stable} now, and was {rollout.baseline} when it was queued"
    return replace(move(rollout, Phase.PENDING, why, facts, now, trigger="turn"), baseline=facts.stable), ()
