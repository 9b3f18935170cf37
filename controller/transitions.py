"""The transitions with what each entails: shares, clocks, aliases. Pure."""

from __future__ import annotations

from dataclasses import replace

from controller.actions import Action, Alert, Promote, Restore
from controller.rollouts import Facts, Rollout, move
from serinus.notices import NoticeKind, numbers_of
from serinus.rollouts import Phase, Trigger

__all__ = [
    "LOADING_S",
    "RENEW_LEFT_S",
    "SHARES_S",
    "Decision",
    "alert",
    "alive",
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


def alive(facts: Facts, now: float) -> float:
    """Wall time, less that in which no controller was alive: what could not be looked at is not held against it."""
    return now - facts.dead_s


def load(
    rollout: Rollout,
    facts: Facts,
    now: float,
    why: str = "every replica is to load it",
    trigger: Trigger = "begin",
) -> Decision:
    after = move(rollout, Phase.LOADING, why, facts, now, trigger=trigger)
    return replace(after, deadline_at=alive(facts, now) + LOADING_S), ()


LOADED = "every live replica holds the candidate"


def begin_preflight(
    rollout: Rollout, facts: Facts, now: float, why: str = LOADED, trigger: Trigger = "loaded"
) -> Decision:
    """Past requests are to be scored before anybody's: for so long at most as the plan allows, in wall time."""
    deadline_s = rollout.plan.preflight.deadline_s if rollout.plan.preflight else 0
    after = move(rollout, Phase.PREFLIGHT, why, facts, now, trigger=trigger)
    return replace(after, deadline_at=alive(facts, now) + deadline_s, paused_from=None, paused_event_ms=None), ()


def begin_shadow(
    rollout: Rollout, facts: Facts, now: float, why: str = LOADED, trigger: Trigger = "loaded"
) -> Decision:
    """Copies of the traffic begin to be scored: evidence counts from here."""
    after = move(rollout, Phase.SHADOW, why, facts, now, trigger=trigger)
    after = replace(
        after, deadline_at=None, paused_from=None, paused_event_ms=None, started_event_ms=facts.watermark_ms
    )
    return _share(after, 0, rollout.plan.shadow_bp, now), ()


def next_step(rollout: Rollout, facts: Facts, now: float, why: str = "", trigger: Trigger = "held") -> Decision:
    """The next step of the plan; the first one is the canary."""
    step = rollout.plan.steps[rollout.step]
    to = Phase.RAMP if rollout.step else Phase.CANARY
    after = move(rollout, to, why or _held(rollout), facts, now, trigger=trigger)
    return _share(replace(after, step=rollout.step + 1), step.canary_bp, rollout.plan.shadow_bp, now), ()


def _held(rollout: Rollout) -> str:
    if rollout.step == 0:
        return "the evidence has begun and nothing is violated"
    step = rollout.plan.steps[rollout.step - 1]
    guards = "every guard" if step.needs is None else "what it needs"
    return f"step {rollout.step} was held for {step.hold_s} s, {guards} satisfied"


def promote(rollout: Rollout, facts: Facts, now: float, why: str, trigger: Trigger) -> Decision:
    """The candidate becomes stable; the old stable goes on as its shadow, so that the comparison goes on."""
    after = move(rollout, Phase.BAKE, why, facts, now, trigger=trigger)
    after = replace(after, promoted=True, paused_from=None, deadline_at=None)
    return _share(after, 0, rollout.plan.shadow_bp, now), (Promote(rollout.candidate, why),)


def end(rollout: Rollout, to: Phase, facts: Facts, now: float, why: str, *, trigger: Trigger) -> Decision:
    """One of the four ends. The shares are 0; a promotion is undone by a rollback."""
    back = rollout.promoted and to is Phase.ROLLED_BACK
    after = replace(
        move(rollout, to, why, facts, now, trigger=trigger),
        canary_bp=0,
        shadow_bp=0,
        expires_at=None,
        deadline_at=None,
        paused_from=None,
        lacking_since=None,
        promoted=rollout.promoted and not back,
    )
    actions: list[Action] = [Restore(rollout.baseline, why)] if back else []
    if to is Phase.ROLLED_BACK:
        text = f"{rollout.model}: version {rollout.candidate} was rolled back: {why}"
        actions.append(alert(rollout, "rolled_back", text, facts))
    return after, tuple(actions)


def alert(rollout: Rollout, kind: NoticeKind, text: str, facts: Facts, key: str = "") -> Alert:
    """With the numbers of the guards that the newest evidence is about."""
    return Alert(kind, rollout.model, rollout.id, text, numbers_of(facts.evidence), key or str(kind))


def _share(rollout: Rollout, canary_bp: int, shadow_bp: int, now: float) -> Rollout:
    """Grant these shares, which end by themselves unless renewed."""
    expires_at = now + SHARES_S if canary_bp or shadow_bp else None
    return replace(rollout, canary_bp=canary_bp, shadow_bp=shadow_bp, expires_at=expires_at)
