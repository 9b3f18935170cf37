"""A Rollout, brought about: begun once by its key, watched to its end; safe to repeat, and to break off anywhere."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from serinus.client.aio.client import AsyncClient
from serinus.errors import AlreadyActive, IllegalMove
from serinus.resources.metadata import Condition
from serinus.resources.outcome import Outcome, Told, condition, failed
from serinus.resources.rollout import Rollout
from serinus.resources.versions import version_from
from serinus.rollouts import ENDS, Move, Phase, RolloutView

__all__ = ["REFUSED", "apply_rollout", "delete_rollout", "key_of", "look_at_rollout"]

REFUSED = "refused"
"""The phase of one that never began, because another was going on and it was not to be queued."""
ENDED = {
    Phase.DONE: "Promoted",
    Phase.ROLLED_BACK: "RolledBack",
    Phase.ABORTED: "Aborted",
    Phase.SUPERSEDED: "Superseded",
}


def key_of(rollout: Rollout) -> str:
    """Its UID; outside a cluster the digest of its name and of what it asks for."""
    if rollout.metadata.uid:
        return rollout.metadata.uid
    asked = f"{rollout.metadata.namespace}\n{rollout.metadata.name}\n{rollout.spec.model_dump_json()}"
    return hashlib.sha256(asked.encode()).hexdigest()


async def apply_rollout(client: AsyncClient, rollout: Rollout) -> Outcome:
    """Begin it, unless that was done before, and say how it goes. Raises SerinusError.

    One that the controller began, but no longer knows, is not begun again: then a database was lost."""
    status = rollout.status
    if status.get("phase") == REFUSED:
        return Outcome(status, ())
    told: tuple[Told, ...] = ()
    view = await _begun(client, key_of(rollout))
    if view is None and status.get("id"):
        return _lost(status)
    if view is None:
        try:
            view = await _begin(client, rollout)
        except AlreadyActive as error:  # nobody wants it to begin by itself, weeks later
            outcome = failed(error, {"phase": REFUSED})
            return Outcome({"phase": REFUSED}, outcome.conditions, outcome.told)
        told = (Told("Started", f"rollout {view.id}: version {view.candidate} against {view.baseline}"),)
    news = tuple(_event(move) for move in view.history[int(status.get("moves") or 0) :])
    return await look_at_rollout(client, view, told + news)


async def look_at_rollout(client: AsyncClient, view: RolloutView, told: tuple[Told, ...] = ()) -> Outcome:
    """How it is, changing nothing. Raises SerinusError."""
    return Outcome(await _status(client, view), _conditions(view), told, settled=view.phase in ENDS)


async def delete_rollout(client: AsyncClient, key: str) -> Outcome:
    """End it, if it goes on: its baseline serves everybody again. Raises SerinusError."""
    view = await _begun(client, key)
    if view is None or view.phase in ENDS:
        return Outcome({}, (), gone=True)
    try:
        view = await client.command(view.id, "abort", "its resource was deleted")
    except IllegalMove:  # it has just ended, or baked so far that only a rollback ends it
        view = await client.rollout(view.id)
    if view.phase not in ENDS:
        view = await client.command(view.id, "rollback", "its resource was deleted")
    return Outcome({}, (), (Told("Aborted", f"rollout {view.id} is {view.phase}"),), gone=True)


async def _begun(client: AsyncClient, key: str) -> RolloutView | None:
    found = await client.rollouts(key=key, limit=1)
    return found[0] if found else None


async def _begin(client: AsyncClient, rollout: Rollout) -> RolloutView:
    spec = rollout.spec
    version = spec.version
    if version is None:
        assert spec.package is not None
        version = await version_from(client, spec.model, spec.package)
    return await client.rollout_start(
        spec.model, version, spec.plan, spec.reason, queue=spec.queue, key=key_of(rollout)
    )


def _lost(status: dict[str, Any]) -> Outcome:
    text = f"the controller does not know rollout {status['id']}: its database was lost or is another one"
    hint = "restore it; to begin anew, delete this resource and apply it again"
    conditions = (
        condition("Ready", False, "Lost", f"{text}; {hint}"),
        condition("Progressing", False, "Lost", text),
        condition("Degraded", True, "Lost", text),
    )
    return Outcome(status, conditions, (Told("Lost", f"{text}; {hint}", "Warning"),), settled=False)


async def _status(client: AsyncClient, view: RolloutView) -> dict[str, Any]:
    violated: tuple[str, ...] = ()
    if view.verdict == "violated":
        look = await client.evidence_latest(view.id)
        violated = look.culprits if look else ()
    return {
        "id": view.id,
        "model_version": view.candidate,
        "baseline": view.baseline,
        "phase": str(view.phase),
        "step": view.step,
        "steps": len(view.plan.steps),
        "canary": f"{view.canary_bp / 100:g} %",
        "verdict": view.verdict,
        "waiting_for": view.waiting_for or None,
        "violated": list(violated[:20]),
        "moves": len(view.history),
        "started_at": _time(view.started_at),
        "ended_at": _time(view.history[-1].at) if view.phase in ENDS and view.history else None,
    }


def _conditions(view: RolloutView) -> tuple[Condition, ...]:
    why = view.history[-1].why if view.history else view.waiting_for
    if view.phase not in ENDS:
        return (
            condition("Ready", None, "InProgress", view.waiting_for),
            condition("Progressing", True, _word(view.phase), view.waiting_for),
            condition("Degraded", view.verdict == "violated", "Violated" if view.verdict == "violated" else "Well"),
        )
    reason, good = ENDED[view.phase], view.phase is Phase.DONE
    return (
        condition("Ready", good, reason, why),
        condition("Progressing", False, reason, why),
        condition("Degraded", view.phase is Phase.ROLLED_BACK, reason, why),
    )


def _event(move: Move) -> Told:
    bad = move.to in (Phase.ROLLED_BACK, Phase.AWAITING_APPROVAL)
    text = f"{move.start} -> {move.to}: {move.why}"
    return Told(_word(move.to), text[:1_000], "Warning" if bad else "Normal")


def _word(phase: Phase) -> str:
    return ENDED.get(phase) or "".join(part.capitalize() for part in str(phase).split("_"))


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
