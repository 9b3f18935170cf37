"""What a step of a rollout leaves behind beside its row: aliases, the audit log, notices. In the step's transaction."""

from __future__ import annotations

from typing import Any, assert_never

from sqlalchemy.orm import Session

from controller.actions import Action, Alert, Promote, Refuse, Restore
from controller.audit import audit
from controller.notify.outbox import tell
from controller.notify.wording import of_alert
from controller.registry import alias_of, point, previous_before
from controller.rollouts import Ask, Rollout
from controller.tables import Model
from serinus.rollouts import Move
from serinus.transitions import COMMANDS

__all__ = ["act", "record"]


def act(session: Session, model: Model, rollout: Rollout, action: Action, now: float) -> None:
    """Move the aliases, tell people. Moving twice moves nothing the second time."""
    who = rollout.history[-1].actor if rollout.history else "controller"
    match action:
        case Promote(version, why):
            stable = alias_of(session, model.name, "stable")
            if stable != version:
                point(session, model.name, "previous", stable, why=why, actor=who, now=now, rollout=rollout.id)
            point(session, model.name, "stable", version, why=why, actor=who, now=now, rollout=rollout.id)
            model.warm = rollout.baseline
            text = f"{model.name}: version {version} was promoted: {why}"
            tell(session, of_alert(Alert("promoted", model.name, rollout.id, text, key="promoted"), now))
        case Restore(version, why):
            before = previous_before(session, rollout.id)
            point(session, model.name, "stable", version, why=why, actor=who, now=now, rollout=rollout.id)
            point(session, model.name, "previous", before, why=why, actor=who, now=now, rollout=rollout.id)
            model.warm = None
        case Alert():
            tell(session, of_alert(action, now))
        case Refuse():
            pass
        case _:
            assert_never(action)


def record(session: Session, before: Rollout, after: Rollout, ask: Ask | None, now: float) -> None:
    """An entry in the audit log for each move, and for what was said for the first time."""
    for move in after.history[len(before.history) :]:
        by_hand = move.trigger in COMMANDS or move.trigger == "superseded"
        actor = (ask.caller or ask.actor) if ask and by_hand else "controller"
        detail = _detail(after, move) | ({"reason": ask.reason, "in_the_name_of": ask.actor} if ask and by_hand else {})
        _entry(session, after, str(move.trigger), detail, now, actor=actor)
    known = {said.key for said in before.said}
    for said in after.said:
        if said.key not in known:
            kind = said.key.partition(":")[0]
            _entry(session, after, kind, {"model": after.model, "text": said.text}, now)


def _entry(
    session: Session, rollout: Rollout, what: str, detail: dict[str, Any], now: float, *, actor: str = "controller"
) -> None:
    audit(session, actor=actor, action=f"rollout.{what}", subject=f"rollouts/{rollout.id}", detail=detail, now=now)


def _detail(rollout: Rollout, move: Move) -> dict[str, Any]:
    return {
        "model": rollout.model,
        "candidate": rollout.candidate,
        "baseline": rollout.baseline,
        "from": str(move.start),
        "to": str(move.to),
        "why": move.why,
        "evidence": move.evidence,
        "step": rollout.step,
        "canary_bp": rollout.canary_bp,
    }
