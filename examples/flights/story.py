"""What the demo must have shown, judged from the API's records alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from serinus.evidence import CellEvidence, Evidence
from serinus.rollouts import ENDS, Phase, RolloutView

__all__ = ["carriers_of_the_verdict", "describe", "faults_of", "judge"]

GOOD_PATH = (Phase.LOADING, Phase.SHADOW, Phase.CANARY, Phase.RAMP, Phase.BAKE, Phase.DONE)


def faults_of(good: RolloutView | None) -> list[str]:
    """Why the better version was not promoted as it should have been; empty when it was."""
    if good is None:
        return ["the rollout of version 2 never began"]
    if good.phase != Phase.DONE:
        return [f"version 2 is {good.phase.value}, not done: {good.waiting_for or good.history[-1].why}"]
    went = [move.to for move in good.history]
    faults = [f"version 2 never was in {phase.value}" for phase in GOOD_PATH if phase not in went]
    faults += [
        f"version 2 moved to {move.to.value} by {move.actor}, not by itself"
        for move in good.history
        if move.to in GOOD_PATH[1:] and move.actor != "controller"
    ]
    if not any(move.to == Phase.BAKE and move.evidence for move in good.history):
        faults.append("version 2 was promoted without evidence")
    return faults


def judge(good: RolloutView | None, bad: RolloutView | None, failed: int, refused: int, defect: bool) -> list[str]:
    """Everything that is not as the story says; empty when it all came true.

    Without the defect version 3 is honestly better: it must be promoted or still be under way, never rolled back."""
    faults = faults_of(good)
    if failed:
        faults.append(f"{failed} requests failed")
    if refused:
        faults.append(f"{refused} labels were refused")
    if bad is None:
        return [*faults, "the rollout of version 3 never began"]
    if defect and bad.phase != Phase.ROLLED_BACK:
        faults.append(f"version 3 is {bad.phase.value}, not rolled back: {bad.waiting_for}")
    if defect and bad.phase == Phase.ROLLED_BACK and not (bad.history[-1].evidence and bad.verdict == "violated"):
        faults.append(f"version 3 was rolled back, but not by evidence: {bad.history[-1].why}")
    if not defect and (bad.phase in ENDS or bad.phase == Phase.AWAITING_APPROVAL) and bad.phase != Phase.DONE:
        faults.append(f"version 3 without its defect is {bad.phase.value}: {bad.history[-1].why}")
    return faults


def carriers_of_the_verdict(look: Evidence, most: int = 5) -> list[CellEvidence]:
    """The cells with the largest share of E, the largest first."""
    weighing = [cell for cell in look.cells if cell.weight * cell.e_violated > 0]
    return sorted(weighing, key=lambda cell: cell.weight * cell.e_violated, reverse=True)[:most]


def describe(cells: Sequence[CellEvidence], look: Evidence) -> list[str]:
    """One line a cell: task, slice, numbers and label counts."""
    return [
        f"{cell.name} ({cell.stream}): baseline {cell.baseline_value:.3f}, candidate {cell.candidate_value:.3f}; "
        f"lost {cell.estimate:.3f} [{cell.low:.3f}, {cell.high:.3f}], margin {cell.margin:g}; "
        f"{cell.labels:,} labels, {cell.positives:,} positives; {cell.weight * cell.e_violated / look.e:.0%} of E"
        for cell in cells
        if cell.estimate is not None
        and cell.low is not None
        and cell.high is not None
        and cell.baseline_value is not None
        and cell.candidate_value is not None
    ]


def on(event_ms: int | None) -> str:
    """An event time for people."""
    return "-" if event_ms is None else f"{datetime.fromtimestamp(event_ms / 1000, UTC):%d %b %Y %H:%M}"
