"""The transitions with what each entails: shares, clocks, aliases. Pure."""

from __future__ import annotations

from dataclasses import replace

from controller.actions import Action, Alert, Promote, Restore
from controller.rollouts import Facts, Rollout, move
from serinus.rollouts import Phase

__all__ = [
    "LOADING_S",
    "RENEW_LEFT_S",
    "SHARES_S",
    "Decision",
    "begin_preflight",
    "begin_shadow",
    "end",
    "load",
    "next_step",
    "promote",
]

LOADING_S = 300.0
"""Wall seconds within which every live replica must hold the candidate."""
SHARES_S, RENEW_LEFT_S = 600.0, 480.0
"""Wall seconds for which shares are granted, and below which of them they are renewed."""

Decision = tuple[Rollout, tuple[Action, ...]]


def load(rollout: Rollout, facts: Facts, now: float, why: str = "every replica is to load it") -> Decision:
    return replace(move(rollout, Phase.LOADING, why, facts, now), deadline_at=now + LOADING_S), ()


LOADED = "every live replica holds the candidate"


def begin_preflight(rollout: Rollout, facts: Facts, now: float, why: str = LOADED) -> Decision:
    """Past requests are to be scored before anybody's: for so long at most as the plan allows, in wall time."""
    deadline_s = rollout.plan.preflight.deadline_s if rollout.plan.preflight else 0
    after = move(rollout, Phase.PREFLIGHT, why, facts, now)
    return replace(after, deadline_at=now + deadline_s, paused_from=None, paused_event_ms=None), ()


def begin_shadow(rollout: Rollout, facts: Facts, now: float, why: str = LOADED) -> Decision:
    """Copies of the traffic begin to be scored: evidence counts from here."""
    after = move(rollout, Phase.SHADOW, why, facts, now)
    after = replace(
        after, deadline_at=None, paused_from=None, paused_event_ms=None, started_event_ms=facts.watermark_ms
    )
    return _share(after, 0, rollout.plan.shadow_bp, now), ()


def next_step(rollout: Rollout, facts: Facts, now: float) -> Decision:
    """The next step of the plan; the first one is the canary."""
    step = rollout.plan.steps[rollout.step]
    why = (
        "the evidence has begun and nothing is violated"
        if rollout.step == 0
        else f"step {rollout.step} was held for {rollout.plan.steps[rollout.step - 1].hold_s} s, every guard satisfied"
    )
    after = move(rollout, Phase.RAMP if rollout.step else Phase.CANARY, why, facts, now)
    return _share(replace(after, step=rollout.step + 1), step.canary_bp, rollout.plan.shadow_bp, now), ()


def promote(rollout: Rollout, facts: Facts, now: float, why: str) -> Decision:
    """The candidate becomes stable; the old stable goes on as its shadow, so that the comparison goes on."""
    after = replace(move(rollout, Phase.BAKE, why, facts, now), promoted=True, paused_from=None, deadline_at=None)
    return _share(after, 0, rollout.plan.shadow_bp, now), (Promote(rollout.candidate, why),)


def end(rollout: Rollout, to: Phase, facts: Facts, now: float, why: str) -> Decision:
    """One of the four ends. The shares are 0; a promotion is undone by a rollback."""
    back = rollout.promoted and to is Phase.ROLLED_BACK
    after = replace(
        move(rollout, to, why, facts, now),
        canary_bp=0,
        shadow_bp=0,
        expires_at=None,
        deadline_at=None,
        paused_from=None,
        promoted=rollout.promoted and not back,
    )
    actions: list[Action] = [Restore(rollout.baseline, why)] if back else []
    if to is Phase.ROLLED_BACK:
        actions.append(Alert(f"{rollout.model}: version {rollout.candidate} was rolled back: {why}"))
    return after, tuple(actions)


def _share(rollout: Rollout, canary_bp: int, shadow_bp: int, now: float) -> Rollout:
    """Grant these shares, which end by themselves unless renewed."""
    expires_at = now + SHARES_S if canary_bp or shadow_bp else None
    return replace(rollout, canary_bp=canary_bp, shadow_bp=shadow_bp, expires_at=expires_at)
