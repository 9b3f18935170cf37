"""What is told once, without anything being done about it: dry runs, and evidence that does not come. Pure."""

from __future__ import annotations

from dataclasses import replace

from controller.actions import Alert
from controller.gates import lacking
from controller.rehearsal import condemned, dry_guards
from controller.rollouts import Facts, Rollout
from controller.transitions import Decision, alert
from serinus.rollouts import Said

__all__ = ["LACKING", "noted_lack", "remark"]

LACKING = "lacking"
MOST_SAID = 100


def noted_lack(rollout: Rollout, facts: Facts, now: float) -> float | None:
    """Since when (wall time) a rollout that has shares is without evidence; None while it has some."""
    if rollout.expires_at is None or not lacking(facts, now):
        return None
    return now if rollout.lacking_since is None else rollout.lacking_since


def remark(rollout: Rollout, facts: Facts, now: float) -> Decision:
    """The rollout with what it said now, and the alerts that say it. Saying it twice is saying it once."""
    if not rollout.running:
        return rollout, ()
    found = _found(rollout, facts, now)
    said = {each.key for each in rollout.said}
    told: list[Said] = []
    for key, text in found.items():
        if key not in said and len(rollout.said) + len(told) < MOST_SAID:
            told.append(Said(key=key, text=text, at=now))
    kept = rollout.said
    over: tuple[Alert, ...] = ()
    if LACKING in said and rollout.lacking_since is None:  # the next silence is told anew
        kept = tuple(each for each in kept if each.key != LACKING)
        text = f"{rollout.model}: evidence on version {rollout.candidate} has come again"
        over = (replace(alert(rollout, "held", text, facts, LACKING), resolved=True),)
    alerts = [
        alert(rollout, "held" if each.key == LACKING else "dry_run", _told(rollout, each), facts, each.key)
        for each in told
    ]
    return replace(rollout, said=(*kept, *told)), (*over, *alerts)


def _found(rollout: Rollout, facts: Facts, now: float) -> dict[str, str]:
    """What there is to say, by what it is about."""
    found: dict[str, str] = {}
    if rollout.plan.dry_run and (why := condemned(rollout, facts)[0]):
        found["dry_run"] = f"the plan is a dry run; it would have been rolled back: {why}"
    looked = facts.evidence or (facts.replay.evidence if facts.replay else None)
    for name, numbers in dry_guards(looked).items():
        found[f"dry_run: {name}"] = f"{name} is in dry run; it would have rolled back: {numbers}"
    since, after_s = rollout.lacking_since, rollout.plan.alert_after_s
    if since is not None and now - since >= after_s:
        found[LACKING] = f"for {after_s} s it has waited for {lacking(facts, now)}"
    return found


def _told(rollout: Rollout, said: Said) -> str:
    return f"{rollout.model}: version {rollout.candidate}: {said.text}"
