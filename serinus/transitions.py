"""What may follow what in a rollout, why, and by whom: one table. Whatever is not in it cannot happen.

The commands that a phase allows, the picture in the docs and `GET /v1/transitions` are made from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

from serinus.rollouts import Command, Phase, Trigger
from serinus.tasks import Word

__all__ = ["COMMANDS", "FOLLOWS", "TRANSITIONS", "TRIGGERS", "WHO", "Transition", "Who", "allowed_in", "listed"]

Who = Literal["controller", "engineer", "operator"]
"""Who brings a transition about: the controller by itself, or a person of at least that role."""
COMMANDS: tuple[Command, ...] = get_args(Command)
WHO: dict[Command, Who] = {
    "pause": "engineer",
    "resume": "operator",
    "approve": "operator",
    "skip": "operator",
    "abort": "engineer",
    "promote": "operator",
    "rollback": "operator",
}
"""Whoever may start a rollout may also stop it; to let it go on, or to move what is stable, takes an operator."""
TRIGGERS: dict[Trigger, str] = {
    "turn": "no rollout of the model is before it in the queue",
    "overtaken": "its version became stable while it was queued",
    "unfit": "its version cannot be compared with what is stable now",
    "begin": "at once",
    "loaded": "every live replica holds the candidate",
    "unloadable": "a replica cannot load the candidate, or did not in time",
    "cleared": "the preflight found nothing violated, ended without a verdict, or its deadline is over",
    "held": "the hold is over and the evidence is what the phase needs",
    "gate": "as `held`, but the step has a manual gate, or the plan is a dry run",
    "overdue": "`max_duration_s` is over and guards are undecided",
    "violated": "the evidence is violated: heeded before everything else, also before commands",
    "superseded": "an operator promoted a version directly",
    "pause": "shares stay as they are, nothing goes on",
    "resume": "back to where it was paused",
    "approve": "goes on from a gate, promotes what is overdue, or leaves the preflight",
    "skip": "leaves the preflight, the hold of the shadow or a step early, whatever the evidence lacks",
    "abort": "ends it; the baseline stays stable",
    "promote": "the candidate becomes stable whatever the evidence lacks; in the bake, ends the bake",
    "rollback": "ends it; in the bake the baseline becomes stable again",
}


class Transition(Word):
    """From `start` to `to`, brought about by `trigger`, by `who`."""

    start: Phase
    to: Phase
    trigger: Trigger
    who: Who


_PENDING, _LOADING, _PREFLIGHT, _SHADOW = Phase.PENDING, Phase.LOADING, Phase.PREFLIGHT, Phase.SHADOW
_CANARY, _RAMP, _BAKE = Phase.CANARY, Phase.RAMP, Phase.BAKE
_QUEUED, _PAUSED, _AWAITING = Phase.QUEUED, Phase.PAUSED, Phase.AWAITING_APPROVAL
_STEPS = (_CANARY, _RAMP)
_BEFORE = (_PENDING, _LOADING, _PREFLIGHT, _SHADOW, *_STEPS)
"""The phases in which the candidate is not stable yet, in their order."""
_NOT_IN_PAUSE: tuple[Trigger, ...] = ("pause", "skip")

_ROWS: tuple[tuple[tuple[Phase, ...], Phase, tuple[Trigger, ...]], ...] = (
    ((_QUEUED,), _PENDING, ("turn",)),
    ((_QUEUED,), Phase.SUPERSEDED, ("overtaken",)),
    ((_QUEUED,), Phase.ABORTED, ("unfit", "abort")),
    ((_PENDING,), _LOADING, ("begin",)),
    ((_LOADING,), _PREFLIGHT, ("loaded",)),
    ((_LOADING,), _SHADOW, ("loaded",)),
    ((_LOADING,), Phase.ROLLED_BACK, ("unloadable",)),
    ((_PREFLIGHT,), _SHADOW, ("cleared", "approve", "skip")),
    ((_SHADOW,), _CANARY, ("held", "skip")),
    (_STEPS, _RAMP, ("held", "skip")),
    (_STEPS, _BAKE, ("held",)),
    ((_SHADOW, *_STEPS), _AWAITING, ("overdue",)),
    (_STEPS, _AWAITING, ("gate",)),
    ((_AWAITING,), _RAMP, ("approve",)),
    ((_AWAITING,), _BAKE, ("approve",)),
    ((_PREFLIGHT, _SHADOW, *_STEPS, _AWAITING), _BAKE, ("promote",)),
    ((_BAKE,), Phase.DONE, ("held", "promote")),
    ((*_BEFORE, _BAKE), _PAUSED, ("pause",)),
    ((*_BEFORE, _AWAITING), Phase.ABORTED, ("abort",)),
    ((*_BEFORE, _AWAITING, _BAKE), Phase.ROLLED_BACK, ("rollback",)),
    ((*_BEFORE, _AWAITING, _PAUSED, _BAKE), Phase.ROLLED_BACK, ("violated",)),
    ((*_BEFORE, _AWAITING, _PAUSED, _BAKE), Phase.SUPERSEDED, ("superseded",)),
)


def _who(trigger: Trigger) -> Who:
    if trigger == "superseded":
        return "operator"
    return WHO[trigger] if trigger in COMMANDS else "controller"


def _table() -> Iterator[Transition]:
    rows = [Transition(start=s, to=to, trigger=t, who=_who(t)) for ss, to, ts in _ROWS for t in ts for s in ss]
    yield from rows
    paused = [row.start for row in rows if row.trigger == "pause"]
    told = [Transition(start=_PAUSED, to=phase, trigger="resume", who=WHO["resume"]) for phase in paused]
    told += [
        row.model_copy(update={"start": _PAUSED})
        for row in rows
        if row.start in paused and row.trigger in COMMANDS and row.trigger not in _NOT_IN_PAUSE
    ]
    yield from dict.fromkeys(told)


TRANSITIONS: tuple[Transition, ...] = tuple(_table())
"""A paused rollout can be commanded as in the phase it was paused in, but for `pause` and `skip`."""
_KNOWN = frozenset((row.start, row.to, row.trigger) for row in TRANSITIONS)
FOLLOWS: dict[Phase, frozenset[Phase]] = {
    phase: frozenset(row.to for row in TRANSITIONS if row.start is phase) for phase in Phase
}
_BY_PHASE: dict[Phase, frozenset[Command]] = {
    phase: frozenset(c for c in COMMANDS if any((row.start, row.trigger) == (phase, c) for row in TRANSITIONS))
    for phase in Phase
}


def listed(start: Phase, to: Phase, trigger: Trigger) -> bool:
    """True when the table has it."""
    return (start, to, trigger) in _KNOWN


def allowed_in(phase: Phase, paused_from: Phase | None = None) -> frozenset[Command]:
    """The commands that a phase takes; of a paused rollout, what the phase it was paused in takes, and `resume`."""
    if phase is Phase.PAUSED and paused_from is not None:
        return (_BY_PHASE[paused_from] - set(_NOT_IN_PAUSE)) | {"resume"}
    return _BY_PHASE[phase]
