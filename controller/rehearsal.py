"""Dry runs: what would have been done, were the guard, or the whole plan, not a rehearsal. Pure."""

from __future__ import annotations

from dataclasses import replace

from controller import preflights
from controller.blame import blamed
from controller.rollouts import Facts, Rollout
from serinus.evidence import Evidence

__all__ = ["condemned", "dry_guards", "rehearsed"]


def condemned(rollout: Rollout, facts: Facts) -> tuple[str, Facts]:
    """(Why it must be rolled back, the facts with the evidence that says so); ("", ...) when nothing is violated."""
    if facts.evidence and facts.evidence.verdict == "violated":
        return blamed(facts.evidence), facts
    if facts.replay and (why := preflights.rejects(rollout, facts.replay)):
        return why, replace(facts, evidence=facts.replay.evidence)
    return "", facts


def rehearsed(rollout: Rollout, facts: Facts) -> str:
    """What a rollout whose plan is a dry run waits for, once its evidence is violated: it goes no further by itself."""
    if not rollout.plan.dry_run:
        return ""
    why, _ = condemned(rollout, facts)
    return f"a person: this is a dry run, else it would have been rolled back: {why}" if why else ""


def dry_guards(evidence: Evidence | None) -> dict[str, str]:
    """Name -> numbers of the guards in dry run that alone would have rolled back.

    Their cells are shown (`display`) and carry the weight that they would have."""
    if evidence is None:
        return {}
    dry = [cell for cell in evidence.cells if cell.role == "display" and cell.weight > 0]
    carried: dict[str, float] = {}
    for cell in dry:
        carried[cell.name] = carried.get(cell.name, 0.0) + cell.weight * cell.e_violated
    over = tuple(name for name, e in carried.items() if e >= evidence.limit)
    return {
        name: blamed(evidence.model_copy(update={"cells": tuple(dry), "culprits": (name,), "e": carried[name]}))
        for name in over
    }
