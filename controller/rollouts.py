"""A rollout and the facts it is decided by, as plain values; and what may follow what."""

from __future__ import annotations

from dataclasses import dataclass, replace

from serinus.errors import IllegalMove
from serinus.evidence import Evidence, VerdictName
from serinus.jobs import Job
from serinus.preflights import PreflightResult
from serinus.rollouts import ENDS, Command, Move, Phase, Plan, RolloutView
from serinus.routes import ReplicaReport

__all__ = ["FOLLOWS", "Ask", "Facts", "Rollout", "move"]

PENDING, LOADING, PREFLIGHT, SHADOW = Phase.PENDING, Phase.LOADING, Phase.PREFLIGHT, Phase.SHADOW
CANARY, RAMP = Phase.CANARY, Phase.RAMP
BAKE, PAUSED, AWAITING = Phase.BAKE, Phase.PAUSED, Phase.AWAITING_APPROVAL
DONE, ROLLED_BACK, ABORTED, SUPERSEDED = Phase.DONE, Phase.ROLLED_BACK, Phase.ABORTED, Phase.SUPERSEDED

FOLLOWS: dict[Phase, frozenset[Phase]] = {
    PENDING: frozenset({LOADING, PAUSED, ROLLED_BACK, ABORTED, SUPERSEDED}),
    LOADING: frozenset({PREFLIGHT, SHADOW, PAUSED, ROLLED_BACK, ABORTED, SUPERSEDED}),
    PREFLIGHT: frozenset({SHADOW, BAKE, PAUSED, ROLLED_BACK, ABORTED, SUPERSEDED}),
    SHADOW: frozenset({CANARY, BAKE, PAUSED, AWAITING, ROLLED_BACK, ABORTED, SUPERSEDED}),
    CANARY: frozenset({RAMP, BAKE, PAUSED, AWAITING, ROLLED_BACK, ABORTED, SUPERSEDED}),
    RAMP: frozenset({RAMP, BAKE, PAUSED, AWAITING, ROLLED_BACK, ABORTED, SUPERSEDED}),
    BAKE: frozenset({DONE, PAUSED, ROLLED_BACK, SUPERSEDED}),
    PAUSED: frozenset(Phase) - {PAUSED, AWAITING},
    AWAITING: frozenset({BAKE, ROLLED_BACK, ABORTED, SUPERSEDED}),
    **{end: frozenset[Phase]() for end in ENDS},
}


@dataclass(frozen=True, slots=True)
class Rollout:
    """One rollout. Everything that a decision leaves behind is in here.

    `step`: how many of the plan's steps have begun; 0 before the canary. `promoted`: the candidate is stable now.
    `started_event_ms`: watermark when shadow traffic began, or the first one known since; evidence counts from it.
    `since_event_ms`: the same for the present phase or step: holds count from it. `deadline_at`: wall time until which
    loading, or the preflight, may take. `expires_at`: wall time at which the shares end unless they are renewed."""

    id: str
    model: str
    candidate: int
    candidate_digest: str
    baseline: int
    plan: Plan
    started_at: float
    phase: Phase = PENDING
    step: int = 0
    canary_bp: int = 0
    shadow_bp: int = 0
    promoted: bool = False
    paused_from: Phase | None = None
    paused_event_ms: int | None = None
    started_event_ms: int | None = None
    since_event_ms: int | None = None
    deadline_at: float | None = None
    expires_at: float | None = None
    verdict: VerdictName | None = None
    history: tuple[Move, ...] = ()

    @property
    def active(self) -> bool:
        return self.phase not in ENDS

    @property
    def in_preflight(self) -> bool:
        """True also while it is paused there."""
        return Phase.PREFLIGHT in (self.phase, self.paused_from)

    @property
    def shares(self) -> bool:
        """True when some traffic is meant to see the candidate."""
        return bool(self.canary_bp or self.shadow_bp)

    def view(self, waiting_for: str) -> RolloutView:
        return RolloutView(
            id=self.id,
            model=self.model,
            candidate=self.candidate,
            baseline=self.baseline,
            plan=self.plan,
            phase=self.phase,
            step=self.step,
            canary_bp=self.canary_bp,
            verdict=self.verdict,
            waiting_for=waiting_for,
            history=self.history,
            started_at=self.started_at,
            started_event_ms=self.started_event_ms,
        )


@dataclass(frozen=True, slots=True)
class Ask:
    """A human command that is to be obeyed now, or refused."""

    command: Command
    reason: str
    actor: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known when a decision is taken.

    `evidence`: the newest look at live traffic, or the first one that was violated. `preflight`: its job; `replay`:
    what that found, once it is done. `watermark_ms`: event time now, of the model's
    labels. `replicas`: the last report of each live replica of the pool. `monitor_seen_at`: wall time."""

    evidence: Evidence | None = None
    watermark_ms: int | None = None
    replicas: tuple[ReplicaReport, ...] = ()
    monitor_seen_at: float | None = None
    ask: Ask | None = None
    preflight: Job | None = None
    replay: PreflightResult | None = None


def move(rollout: Rollout, to: Phase, why: str, facts: Facts, now: float) -> Rollout:
    """The rollout in its next phase, with the move in its history; the clock of holds starts anew.

    Raises IllegalMove, with the history, when `to` may not follow."""
    if to not in FOLLOWS[rollout.phase]:
        raise illegal(rollout, f"{rollout.phase} cannot become {to}")
    step = Move(
        at=now,
        event_ms=facts.watermark_ms,
        start=rollout.phase,
        to=to,
        why=why,
        actor=facts.ask.actor if facts.ask else "controller",
        evidence=facts.evidence.digest if facts.evidence else None,
    )
    return replace(
        rollout,
        phase=to,
        since_event_ms=facts.watermark_ms,
        history=(*rollout.history, step),
    )


def illegal(rollout: Rollout, what: str) -> IllegalMove:
    """The error that tells the story so far."""
    story = "; ".join(f"{m.start} -> {m.to} ({m.actor}: {m.why})" for m in rollout.history[-20:])
    return IllegalMove(f"rollout {rollout.id}: {what}; its history: {story or 'nothing happened yet'}")
