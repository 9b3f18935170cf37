"""A rollout and the facts it is decided by, as plain values; and what may follow what."""

from __future__ import annotations

from dataclasses import dataclass, replace

from serinus.errors import IllegalMove
from serinus.evidence import Evidence, VerdictName
from serinus.jobs import Job
from serinus.preflights import PreflightResult
from serinus.rollouts import ENDS, Command, Move, Phase, Plan, RolloutView, Said, Trigger
from serinus.routes import ReplicaReport
from serinus.transitions import COMMANDS, FOLLOWS, allowed_in, listed
from serinus.windows import Windows

__all__ = ["FOLLOWS", "Ask", "Facts", "Rollout", "illegal", "move"]


@dataclass(frozen=True, slots=True)
class Rollout:
    """One rollout. Everything that a decision leaves behind is in here.

    `step`: how many of the plan's steps have begun; 0 before the canary. `promoted`: the candidate is stable now.
    `started_event_ms`: watermark when shadow traffic began, or the first one known since; evidence counts from it.
    `since_event_ms`: the same for the present phase or step: holds count from it. `deadline_at`: until when loading, or
    the preflight, may take, in wall time less that in which no controller was alive (`Facts.dead_s`). `expires_at`:
    wall time at which the shares end unless they are renewed. `place`: in the queue of its model, in rising order.
    `said`: what was told once. `lacking_since`: wall time since which there is no evidence, or only errors."""

    id: str
    model: str
    candidate: int
    candidate_digest: str
    baseline: int
    plan: Plan
    started_at: float
    phase: Phase = Phase.PENDING
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
    place: int = 0
    said: tuple[Said, ...] = ()
    lacking_since: float | None = None

    @property
    def active(self) -> bool:
        """True until it ends, also while it is queued."""
        return self.phase not in ENDS

    @property
    def running(self) -> bool:
        """True when it is the one rollout of its model that goes on."""
        return self.active and self.phase is not Phase.QUEUED

    @property
    def at_gate(self) -> bool:
        """True while it awaits approval to leave a step that has a manual gate."""
        return self.phase is Phase.AWAITING_APPROVAL and self.history[-1].trigger == "gate"

    @property
    def last_step(self) -> bool:
        return self.step == len(self.plan.steps)

    @property
    def allowed(self) -> tuple[Command, ...]:
        """The commands that are possible now. After the last step there is nothing to skip to but the promotion."""
        can = allowed_in(self.phase, self.paused_from)
        return tuple(c for c in COMMANDS if c in can and not (c == "skip" and self.last_step))

    @property
    def in_preflight(self) -> bool:
        """True also while it is paused there."""
        return Phase.PREFLIGHT in (self.phase, self.paused_from)

    @property
    def shares(self) -> bool:
        """True when some traffic is meant to see the candidate."""
        return bool(self.canary_bp or self.shadow_bp)

    def view(self, waiting_for: str, behind: tuple[str, ...] = ()) -> RolloutView:
        return RolloutView(
            id=self.id,
            model=self.model,
            candidate=self.candidate,
            baseline=self.baseline,
            plan=self.plan,
            phase=self.phase,
            step=self.step,
            canary_bp=self.canary_bp,
            shadow_bp=self.shadow_bp,
            verdict=self.verdict,
            waiting_for=waiting_for,
            history=self.history,
            started_at=self.started_at,
            started_event_ms=self.started_event_ms,
            paused_from=self.paused_from,
            promoted=self.promoted,
            allowed=self.allowed,
            queued_behind=behind,
            next_step=None if self.last_step or not self.active or self.promoted else self.plan.steps[self.step],
            dry_run=tuple(said.text for said in self.said if said.key.startswith("dry_run")),
        )


@dataclass(frozen=True, slots=True)
class Ask:
    """A human command that is to be obeyed now, or refused. `actor`: in whose name; `caller`: whose token it was."""

    command: Command
    reason: str
    actor: str
    caller: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known when a decision is taken.

    `evidence`: the newest look at live traffic, or the first one that was violated. `preflight`: its job; `replay`:
    what that found, once it is done. `watermark_ms`: event time now, of the model's
    labels. `replicas`: the last report of each live replica of the pool. `monitor_seen_at`: wall time.

    `windows`: those of the SLA as it is now. `dead_s`: wall seconds so far in which no controller was alive.
    `unsigned`: why the candidate must not go on for want of a signature. Of a
    queued rollout: `behind`: ids of those before it; `stable`: the version that is stable now; `unfit`: why its own
    cannot be compared with that."""

    evidence: Evidence | None = None
    watermark_ms: int | None = None
    replicas: tuple[ReplicaReport, ...] = ()
    monitor_seen_at: float | None = None
    ask: Ask | None = None
    preflight: Job | None = None
    replay: PreflightResult | None = None
    windows: Windows | None = None
    dead_s: float = 0.0
    unsigned: str = ""
    behind: tuple[str, ...] = ()
    stable: int | None = None
    unfit: str = ""


def move(rollout: Rollout, to: Phase, why: str, facts: Facts, now: float, *, trigger: Trigger) -> Rollout:
    """The rollout in its next phase, with the move in its history; the clock of holds starts anew.

    Raises IllegalMove, with the history, when the table does not have it."""
    if not listed(rollout.phase, to, trigger):
        raise illegal(rollout, f"{rollout.phase} cannot become {to} by {trigger}")
    step = Move(
        at=now,
        event_ms=facts.watermark_ms,
        start=rollout.phase,
        to=to,
        why=why,
        actor=facts.ask.actor if facts.ask else "controller",
        evidence=facts.evidence.digest if facts.evidence else None,
        trigger=trigger,
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
