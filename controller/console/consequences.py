"""What a command will do, told before it is done. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, assert_never

from controller.console.visit import Visit
from controller.console.words import share
from serinus.rollouts import Command, Phase, RolloutView
from serinus.transitions import COMMANDS, WHO

__all__ = ["LABELS", "Offer", "Telling", "needs_reason", "offers", "tell"]

LABELS: dict[Command, str] = {
    "pause": "Pause",
    "resume": "Resume",
    "approve": "Approve",
    "skip": "Skip ahead",
    "abort": "Abort",
    "promote": "Promote now",
    "rollback": "Roll back",
}
Look = Literal["main", "plain", "danger"]
LOOKS: dict[Command, Look] = {"approve": "main", "resume": "main", "abort": "danger", "rollback": "danger"}


@dataclass(frozen=True, slots=True)
class Offer:
    """A button. `refused`: why it cannot be pressed by whoever looks; "" when it can."""

    command: Command
    label: str
    look: Look
    refused: str


@dataclass(frozen=True, slots=True)
class Telling:
    """`title`: the question. `effects`: what will happen, a sentence each. `override`: what of the evidence it sets
    aside."""

    title: str
    effects: tuple[str, ...]
    override: str = ""


def offers(view: RolloutView, visit: Visit) -> list[Offer]:
    """What the phase allows, the urgent ones first; what the visitor's role does not allow, with the reason."""
    order: tuple[Command, ...] = ("approve", "resume", "rollback", "abort", "pause", "skip", "promote")
    return [
        Offer(command, LABELS[command], LOOKS.get(command, "plain"), _refused(command, visit))
        for command in sorted(view.allowed, key=order.index)
        if command in COMMANDS
    ]


def _refused(command: Command, visit: Visit) -> str:
    if visit.may(WHO[command]):
        return ""
    return f"needs role {WHO[command]}; you are {visit.caller.role}"


def needs_reason(view: RolloutView, command: Command) -> bool:
    """Whether the form asks for a reason; the controller has the last word."""
    if command == "approve":
        return not _at_gate(view) or view.verdict == "violated"
    return command in ("promote", "skip")


def tell(view: RolloutView, command: Command) -> Telling:
    new, old = f"version {view.candidate}", f"version {view.baseline}"
    match command:
        case "pause":
            return Telling(
                f"Pause the rollout of {new}?",
                (
                    f"Shares stay as they are: {share(view.canary_bp)} canary, {share(view.shadow_bp)} shadow.",
                    "Nothing goes on until somebody resumes it. A violation still rolls it back.",
                ),
            )
        case "resume":
            return Telling(
                f"Resume the rollout of {new}?",
                (
                    f"It goes on in {view.paused_from or 'its phase'}, where it was paused.",
                    "Event time that went by meanwhile counts for no hold.",
                ),
            )
        case "approve" | "skip":
            return _ahead(view, command)
        case "abort":
            return Telling(
                f"Abort the rollout of {new}?",
                (
                    f"No request sees {new} any more, not even as a copy; {old} stays stable.",
                    "It ends as aborted. To try again is another rollout, with new evidence.",
                ),
            )
        case "rollback":
            back = (
                f"Within a second {old} is stable again for all requests."
                if view.promoted
                else f"Within a second no request is answered by {new} any more; {old} stays stable."
            )
            again = f"It ends as rolled back. To try {new} again needs a reason, and starts new evidence."
            return Telling(f"Roll back {new}?", (back, again))
        case "promote":
            return _promoted(view, f"Promote {new} now?")
    assert_never(command)


def _at_gate(view: RolloutView) -> bool:
    return bool(view.phase is Phase.AWAITING_APPROVAL and view.history and view.history[-1].trigger == "gate")


def _promoted(view: RolloutView, title: str, override: str = "whatever evidence is still missing") -> Telling:
    new, old = f"version {view.candidate}", f"version {view.baseline}"
    if view.promoted:
        return Telling(
            title,
            (f"The bake ends now; {new} stays stable.", f"{old} is no longer compared with it."),
            "what is left of the bake",
        )
    return Telling(
        title,
        (
            f"{new.capitalize()} becomes stable: it answers all requests.",
            f"In the bake {old} is its shadow; a regression found then still goes back.",
        ),
        override,
    )


def _ahead(view: RolloutView, command: Literal["approve", "skip"]) -> Telling:
    new = f"version {view.candidate}"
    verb = "Approve" if command == "approve" else "Skip ahead with"
    override = "whatever evidence the present step still lacks" if command == "skip" else ""
    if Phase.PREFLIGHT in (view.phase, view.paused_from):
        copies = f"{new.capitalize()} gets copies of {share(view.plan.shadow_bp)} of the requests (shadow)."
        return Telling(f"{verb} {new} without its preflight?", (copies,), "what the preflight would have found")
    more = view.next_step
    if more is None or (command == "approve" and not _at_gate(view)):
        undecided = "" if _at_gate(view) and view.verdict != "violated" else "guards that are undecided or violated"
        return _promoted(view, f"{verb} {new}?", undecided)
    effects = (
        f"The share of {new} goes from {share(view.canary_bp)} to {share(more.canary_bp)} of the entities.",
        "It is judged on as before; a violation rolls it back.",
    )
    return Telling(f"{verb} {new}?", effects, override)
