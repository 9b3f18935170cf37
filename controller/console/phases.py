"""The way of a rollout as a line of stations: what is behind it, where it is, what comes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from controller.console.words import share
from serinus.rollouts import ENDS, Move, Phase, RolloutView

__all__ = ["Station", "stations_of"]

State = Literal["done", "here", "ahead", "skipped", "ended"]


@dataclass(frozen=True, slots=True)
class Station:
    """`since`: wall time at which it was reached, Unix seconds."""

    name: str
    detail: str
    state: State
    since: float | None = None


def stations_of(view: RolloutView) -> list[Station]:
    """Each phase and step of the plan in its order; an early end comes right after where it happened."""
    planned = _planned(view)
    at = _place(view, planned)
    ended = view.phase in ENDS and view.phase is not Phase.DONE
    found = []
    for place, (phase, step, detail) in enumerate(planned):
        since = _reached(view.history, phase, step)
        passed: State = "done" if since is not None or phase in (Phase.PENDING, Phase.QUEUED) else "skipped"
        state: State = passed if place < at else "here" if place == at and view.phase is not Phase.DONE else "ahead"
        if place == at and (ended or view.phase is Phase.DONE):
            state = "done"
        name = str(phase) if phase is not Phase.RAMP else "ramp"
        found.append(Station(name, detail, state, since))
        if place == at and ended:
            found.append(Station(str(view.phase), "", "ended", view.history[-1].at if view.history else None))
            break
    return found


Planned = tuple[Phase, int, str]


def _planned(view: RolloutView) -> list[Planned]:
    plan = view.plan
    found: list[Planned] = [(Phase.QUEUED, 0, "")] if _was(view, Phase.QUEUED) else []
    found.append((Phase.LOADING, 0, ""))
    if plan.preflight is not None or _was(view, Phase.PREFLIGHT):
        found.append((Phase.PREFLIGHT, 0, "past requests"))
    found.append((Phase.SHADOW, 0, share(plan.shadow_bp)))
    for number, step in enumerate(plan.steps, start=1):
        found.append((Phase.CANARY if number == 1 else Phase.RAMP, number, share(step.canary_bp)))
    return [*found, (Phase.BAKE, 0, "100 %"), (Phase.DONE, 0, "")]


def _was(view: RolloutView, phase: Phase) -> bool:
    return view.phase is phase or any(phase in (move.start, move.to) for move in view.history)


def _place(view: RolloutView, planned: list[Planned]) -> int:
    """Which station it is at, or was at when it was paused or ended."""
    phase = view.paused_from or view.phase
    if phase in (Phase.AWAITING_APPROVAL, Phase.PAUSED) or (phase in ENDS and phase is not Phase.DONE):
        known = [move.start for move in view.history if move.start not in (Phase.AWAITING_APPROVAL, Phase.PAUSED)]
        phase = known[-1] if known else Phase.PENDING
    if phase in (Phase.CANARY, Phase.RAMP):
        return next((at for at, (_, step, _) in enumerate(planned) if step == max(view.step, 1)), 0)
    return next((at for at, (each, _, _) in enumerate(planned) if each is phase), 0)


def _reached(history: tuple[Move, ...], phase: Phase, step: int) -> float | None:
    """When the move into it was made; into the second step of the ramp: the second such move."""
    moves = [m.at for m in history if m.to is phase and m.start is not Phase.PAUSED]
    number = step - 2 if phase is Phase.RAMP else 0
    return moves[number] if 0 <= number < len(moves) else None
