"""A rollout as people ask for it and see it: its plan, phases, commands and history."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from serinus.routes import Basis
from serinus.tasks import Word
from serinus.windows import Windows

__all__ = ["ENDS", "Command", "Move", "Phase", "Plan", "Preflight", "RolloutView", "Said", "Step", "Trigger"]

DAY_S = 86_400
Seconds = Annotated[int, Field(ge=0, le=366 * DAY_S)]


class Phase(StrEnum):
    QUEUED = "queued"
    PENDING = "pending"
    LOADING = "loading"
    PREFLIGHT = "preflight"
    SHADOW = "shadow"
    CANARY = "canary"
    RAMP = "ramp"
    BAKE = "bake"
    PAUSED = "paused"
    AWAITING_APPROVAL = "awaiting_approval"
    DONE = "done"
    ROLLED_BACK = "rolled_back"
    ABORTED = "aborted"
    SUPERSEDED = "superseded"


ENDS = frozenset({Phase.DONE, Phase.ROLLED_BACK, Phase.ABORTED, Phase.SUPERSEDED})
Command = Literal["pause", "resume", "approve", "skip", "abort", "promote", "rollback"]
Trigger = Literal[
    Command,
    "turn",
    "overtaken",
    "unfit",
    "begin",
    "loaded",
    "unloadable",
    "cleared",
    "held",
    "gate",
    "overdue",
    "violated",
    "superseded",
]
"""What brings a transition about: a command of a person, or what the controller saw; see `serinus.transitions`."""
GuardName = Annotated[str, Field(min_length=1, max_length=300)]


class Step(Word):
    """Give the candidate `canary_bp` / 10,000 of the entities for at least `hold_s` seconds of event time.

    `needs`: guards that must be satisfied to go on from here (`click / overall / auc`, with `*` for anything); None:
    every required one. The last step needs every required one besides, for what follows is the promotion.
    `gate`: manual: when all that is there, somebody must still `approve`."""

    canary_bp: Annotated[int, Field(ge=1, le=10_000)]
    hold_s: Seconds
    needs: Annotated[tuple[GuardName, ...], Field(max_length=100)] | None = None
    gate: Literal["automatic", "manual"] = "automatic"


class Preflight(Word):
    """Score the candidate on the logged requests of the past before it meets a user.

    `window_s`: event time of logged traffic that is looked at, ending where every task's labels are mature.
    `max_rows`: at most so many rows, spread evenly. `deadline_s`: wall time after which the rollout goes on without it.
    Its part of alpha is `alpha_share`, so that the live streams have the rest."""

    window_s: Annotated[int, Field(ge=3_600, le=366 * DAY_S)] = 7 * DAY_S
    max_rows: Annotated[int, Field(ge=1_000, le=100_000_000)] = 1_000_000
    deadline_s: Annotated[int, Field(ge=10, le=7 * DAY_S)] = 3_600
    alpha_share: Annotated[float, Field(gt=0, lt=1)] = 0.2


class Plan(Word):
    """How a rollout goes when nothing is wrong. Holds, cycle, bake and `max_duration_s` are in event time.

    The first step is the canary: it needs evidence that has begun and is not violated. The further steps, the ramp,
    and the promotion need every required guard satisfied; the promotion also a `cycle_s` of event time in the
    evidence (weekdays and weekend). `preflight`: None: the candidate goes to its shadow at once.

    `windows`: when shares may grow, and the promotion may come. `alert_after_s`: wall time without evidence, or with
    nothing but errors in it, after which somebody is told. `dry_run`: a rehearsal: what would be rolled back or
    promoted is said, and a person does it or not."""

    preflight: Preflight | None = None
    shadow_bp: Basis = 10_000
    shadow_hold_s: Seconds = DAY_S
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=20)] = (
        Step(canary_bp=100, hold_s=DAY_S),
        Step(canary_bp=1_000, hold_s=DAY_S),
        Step(canary_bp=5_000, hold_s=DAY_S),
    )
    cycle_s: Seconds = 7 * DAY_S
    bake_s: Seconds = DAY_S
    max_duration_s: Annotated[int, Field(ge=60, le=366 * DAY_S)] = 60 * DAY_S
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    windows: Windows | None = None
    alert_after_s: Annotated[int, Field(ge=60, le=366 * DAY_S)] = 3_600
    dry_run: bool = False

    @property
    def replay_alpha(self) -> float:
        """The preflight's part of alpha; 0 without one."""
        return self.alpha * self.preflight.alpha_share if self.preflight else 0.0

    @property
    def live_alpha(self) -> float:
        """What the live streams have, from the start to the end, whatever becomes of the preflight."""
        return self.alpha * (1 - self.preflight.alpha_share) if self.preflight else self.alpha

    def model_post_init(self, _context: Any, /) -> None:
        shares = [step.canary_bp for step in self.steps]
        if shares != sorted(shares):
            raise ValueError("steps: the shares must not fall, for assignment is monotone")


class Move(Word):
    """One transition: when (wall, Unix seconds; event, Unix milliseconds), from, to, why, who.

    `trigger`: what brought it about; None: before that was recorded. `evidence`: digest of what it rests on."""

    at: float
    event_ms: int | None
    start: Phase
    to: Phase
    why: str
    actor: str
    evidence: str | None = None
    trigger: Trigger | None = None


class Said(Word):
    """Something that was told once. `key`: what it is about, `lacking` or `dry_run: click / overall / auc`."""

    key: str
    text: str
    at: float


class RolloutView(Word):
    """A rollout as the API shows it.

    `waiting_for`: what the next transition waits for, in words. `allowed`: the commands that are possible now.
    `queued_behind`: ids of the rollouts that go before it. `next_step`: None after the last one. `dry_run`: what
    would have been done, were it not a rehearsal. `key`: by which it was begun, if by any."""

    id: str
    model: str
    candidate: int
    baseline: int
    plan: Plan
    phase: Phase
    step: int
    canary_bp: int
    verdict: str | None
    waiting_for: str
    history: tuple[Move, ...]
    started_at: float
    started_event_ms: int | None
    paused_from: Phase | None = None
    shadow_bp: int = 0
    allowed: tuple[Command, ...] = ()
    queued_behind: tuple[str, ...] = ()
    next_step: Step | None = None
    dry_run: tuple[str, ...] = ()
    promoted: bool = False
    reason: str = ""
    actor: str = ""
    key: str | None = None
