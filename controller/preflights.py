"""What a preflight means for its rollout: it may reject, never promote, and never blocks for ever. Pure."""

from __future__ import annotations

from controller.blame import blamed
from controller.rollouts import Facts, Rollout
from serinus.preflights import PreflightResult

__all__ = ["outcome", "rejects", "waits"]

_ROUNDING = 1 - 1e-9


def rejects(rollout: Rollout, found: PreflightResult) -> str:
    """Why the candidate is rolled back by what the preflight found; "" when it is not, or is past its preflight.

    The verdict counts only at a limit that the preflight's own part of alpha allows."""
    evidence, alpha = found.evidence, rollout.plan.replay_alpha
    if not rollout.in_preflight or evidence is None or evidence.verdict != "violated" or not alpha:
        return ""
    if evidence.limit < _ROUNDING / alpha:
        return ""
    return f"preflight, {blamed(evidence)}; {found.said}"


def waits(facts: Facts, silent: str) -> str:
    """What the preflight waits for; "" once it has ended. `silent`: what to say when no monitor calls."""
    job = facts.preflight
    if job is None:
        return "the preflight to be queued"
    match job.state:
        case "queued":
            return silent or "the preflight, which waits for a monitor that is free"
        case "running":
            return silent or f"the preflight, {job.progress:.0%}{': ' if job.said else ''}{job.said}"
    return ""


def outcome(rollout: Rollout, facts: Facts, waiting: str, *, late: bool) -> tuple[str, bool]:
    """(Why the rollout goes on from its preflight, whether that is as it should be); ("", ...) while it does not.

    `late`: the deadline is over. Only in a dry run does one that was rejected get here."""
    if facts.replay and (why := rejects(rollout, facts.replay)):
        return f"a dry run: else it would have been rolled back: {why}", True
    job, found = facts.preflight, facts.replay
    if job is None or waiting:
        return (f"without a preflight: its deadline is over; it waited for {waiting}", False) if late else ("", True)
    if job.state != "done":
        return f"without a preflight: it {job.state}{': ' if job.said else ''}{job.said}", False
    if lacking := _lacks(found):
        return f"without a preflight: {lacking}", False
    return f"the preflight does not reject it: {_summary(found)}", True


def _summary(found: PreflightResult | None) -> str:
    if found is None or found.evidence is None:
        return ""
    holds = f"; live it would be held: {'; '.join(found.evidence.holds)}" if found.evidence.holds else ""
    return f"E = {found.evidence.e:.4g}; {found.said}{holds}"


def _lacks(found: PreflightResult | None) -> str:
    if found is None:
        return "what it found cannot be read"
    if found.evidence is None or not found.rows:
        return f"{found.why or 'no row could be scored'}; {found.said}"
    if found.evidence.verdict == "violated":
        return f"its limit, {found.evidence.limit:g}, is not that of its part of alpha"
    return ""
