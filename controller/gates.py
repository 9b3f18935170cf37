"""What stands between a rollout and its next phase, in words; "" when nothing does.

The same words are shown to people and decide: a gate is open exactly when there is nothing to say."""

from __future__ import annotations

from typing import assert_never

from controller import preflights
from controller.needs import unmet
from controller.rehearsal import rehearsed
from controller.rollouts import Facts, Rollout
from serinus.rollouts import Phase
from serinus.routes import ReplicaReport
from serinus.windows import closed

__all__ = ["FRESH_S", "failing", "lacking", "overdue", "shut", "undecided", "waits_for"]

FRESH_S = 60.0
"""Wall seconds after its last call for which a monitor counts as alive."""
ROLES = ("front", "candidate", "shadow")


def waits_for(rollout: Rollout, facts: Facts, now: float) -> str:  # noqa: PLR0911 one return a phase
    """What the next transition waits for."""
    plan, phase = rollout.plan, rollout.phase
    match phase:
        case Phase.QUEUED:
            return f"its turn, behind {', '.join(facts.behind)}" if facts.behind else ""
        case Phase.PENDING:
            return ""
        case Phase.LOADING:
            return _loading(rollout, facts)
        case Phase.PREFLIGHT:
            return preflights.waits(facts, _monitor(facts, now))
        case Phase.SHADOW:
            hold = rehearsed(rollout, facts) or lacking(facts, now) or _held(facts)
            return hold or _hold(rollout, facts, plan.shadow_hold_s) or _begun(facts) or shut(rollout, facts, now)
        case Phase.CANARY | Phase.RAMP:
            hold = rehearsed(rollout, facts) or failing(rollout, facts) or lacking(facts, now) or _held(facts)
            hold = hold or _hold(rollout, facts, plan.steps[rollout.step - 1].hold_s) or _satisfied(rollout, facts)
            hold = hold or (_cycle(facts, plan.cycle_s) if rollout.last_step else "")
            return hold or shut(rollout, facts, now)
        case Phase.BAKE:
            return rehearsed(rollout, facts) or lacking(facts, now) or _hold(rollout, facts, plan.bake_s)
        case Phase.PAUSED:
            return "`resume`: it was paused"
        case Phase.AWAITING_APPROVAL:
            why = rollout.history[-1].why if rollout.at_gate else f"undecided: {undecided(facts)}"
            return f"`approve` or `abort`; {why}"
        case Phase.DONE | Phase.ROLLED_BACK | Phase.ABORTED | Phase.SUPERSEDED:
            return ""
    assert_never(phase)


def shut(rollout: Rollout, facts: Facts, now: float) -> str:
    """Until when no share may grow and nothing be promoted, by the windows of the plan and of the SLA as it is now; or
    whose signature the candidate lacks: a key was revoked, or the rule came later."""
    if facts.unsigned:
        return f"a signature that counts: {facts.unsigned}"
    until = closed((rollout.plan.windows, facts.windows), now)
    return f"the time at which it may go on, {until}" if until else ""


def overdue(rollout: Rollout, facts: Facts) -> bool:
    """True when `max_duration_s` of event time has gone by since shadow traffic began."""
    if rollout.started_event_ms is None or facts.watermark_ms is None:
        return False
    return facts.watermark_ms - rollout.started_event_ms >= rollout.plan.max_duration_s * 1000


def undecided(facts: Facts) -> str:
    """The required guards that are not satisfied, with what each lacks; and what holds the ramp."""
    if facts.evidence is None:
        return "every guard, for no evidence came"
    cells = [c for c in facts.evidence.cells if c.role == "required" and c.verdict != "satisfied"]
    lacking = "; ".join(f"{c.name} ({c.why or c.verdict})" for c in cells) or "no required guard"
    return f"{lacking}; {held}" if (held := _held(facts)) else lacking


def _loading(rollout: Rollout, facts: Facts) -> str:
    alive = {report.role for report in facts.replicas}
    missing = [f"a live {role} replica" for role in ROLES if role not in alive]
    missing += [r.replica for r in facts.replicas if not _has(r, rollout.candidate_digest)]
    return f"version {rollout.candidate} to be loaded by {', '.join(missing)}" if missing else ""


def _has(report: ReplicaReport, digest: str) -> bool:
    """Front doors load a candidate only when its share is large; before that they must have its files."""
    return digest in report.loaded or (report.role == "front" and digest in report.fetched)


def failing(rollout: Rollout, facts: Facts) -> str:
    """A replica that lacks the candidate keeps its old routes: a larger share would not be what it seems."""
    digest = rollout.candidate_digest
    failed = [f"{r.replica} ({r.failed[digest]})" for r in facts.replicas if digest in r.failed]
    return f"version {rollout.candidate} to be loaded by {', '.join(failed)}" if failed else ""


def _monitor(facts: Facts, now: float) -> str:
    if facts.monitor_seen_at is None or now - facts.monitor_seen_at > FRESH_S:
        return f"a monitor: none has called within {FRESH_S:g} s"
    return ""


def lacking(facts: Facts, now: float) -> str:
    """Evidence that is missing, or of no use: it holds, and decides nothing."""
    if silent := _monitor(facts, now):
        return silent
    if facts.watermark_ms is None:
        return "a watermark: no label source has said yet up to when it is complete"
    if facts.evidence is None:
        return "the first evidence"
    if facts.evidence.verdict == "error":
        whys = {f"{c.name} ({c.why})" for c in facts.evidence.cells if c.verdict == "error"}
        return f"evidence without errors: {'; '.join(sorted(whys)) or 'the monitor names no cell'}"
    return ""


def _held(facts: Facts) -> str:
    """What the newest look says must not grow: nobody is rolled back for it, and it ends when a look is without it."""
    return f"held: {'; '.join(facts.evidence.holds)}" if facts.evidence and facts.evidence.holds else ""


def _hold(rollout: Rollout, facts: Facts, hold_s: int) -> str:
    """Evidence must cover the hold: its own watermark counts, not how far the labels are beyond it."""
    if hold_s == 0:
        return ""
    if facts.evidence is None or rollout.since_event_ms is None:
        return "a watermark: event time is not known yet"
    left = hold_s - (facts.evidence.watermark_ms - rollout.since_event_ms) / 1000
    return f"{left:.0f} s more of event time of the {hold_s} s that {rollout.phase} holds" if left > 0 else ""


def _begun(facts: Facts) -> str:
    if facts.evidence is not None and facts.evidence.begun:
        return ""
    return "evidence to begin: every required guard needs data past its burn-in"


def _satisfied(rollout: Rollout, facts: Facts) -> str:
    """Before the promotion every required guard; before a further step what the present one needs."""
    needs = rollout.plan.steps[rollout.step - 1].needs
    if (needs is None or rollout.last_step) and (facts.evidence is None or facts.evidence.verdict != "satisfied"):
        return f"every required guard to be satisfied: {undecided(facts)}"
    missing = unmet(needs or (), facts.evidence)
    return f"the guards that step {rollout.step} needs: {'; '.join(missing)}" if missing else ""


def _cycle(facts: Facts, cycle_s: int) -> str:
    if cycle_s == 0:
        return ""
    if facts.evidence is None or facts.evidence.first_event_ms is None:
        return "evidence that covers event time"
    left = cycle_s - (facts.evidence.watermark_ms - facts.evidence.first_event_ms) / 1000
    return f"{left:.0f} s more of event time in the evidence, of a cycle of {cycle_s} s" if left > 0 else ""
