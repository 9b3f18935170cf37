"""What each gate waits for, what a decision leaves behind, and how it says so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.actions import Alert, Promote, Restore
from controller.blame import blamed
from controller.decide import decide
from controller.gates import waits_for
from controller.rollouts import Ask
from serinus.errors import BadInput
from serinus.rollouts import Phase, Plan, Step
from serinus.routes import ReplicaReport

HOUR_MS = 3_600_000


def test_loading_waits_for_every_live_replica_of_every_role(make: Any) -> None:
    rollout = make.rollout(Phase.LOADING)
    two_roles = make.facts(replicas=make.replicas()[:2])
    assert decide(rollout, two_roles, make.NOW)[0] == replace(rollout, verdict="satisfied")
    assert "a live shadow replica" in waits_for(rollout, two_roles, make.NOW)
    late = ReplicaReport(replica="front-2", role="front")
    assert "front-2" in waits_for(rollout, make.facts(replicas=(*make.replicas(), late)), make.NOW)


def test_a_replica_that_cannot_load_the_candidate_rolls_it_back_by_name(make: Any) -> None:
    broken = ReplicaReport(replica="shadow-7", role="shadow", failed={"digest-2": "its own sample failed"})
    after, _ = decide(make.rollout(Phase.LOADING), make.facts(replicas=(*make.replicas(), broken)), make.NOW)
    assert after.phase is Phase.ROLLED_BACK
    assert "shadow-7" in after.history[-1].why
    assert "its own sample failed" in after.history[-1].why


def test_another_version_that_failed_is_no_reason(make: Any) -> None:
    reports = tuple(report.model_copy(update={"failed": {"digest-9": "old"}}) for report in make.replicas())
    assert decide(make.rollout(Phase.LOADING), make.facts(replicas=reports), make.NOW)[0].phase is Phase.SHADOW


def test_loading_has_a_deadline_in_wall_time_and_names_who_misses(make: Any) -> None:
    late = make.facts(replicas=(*make.replicas(), ReplicaReport(replica="front-2", role="front")))
    rollout = make.rollout(Phase.LOADING)
    assert decide(rollout, late, rollout.deadline_at)[0].phase is Phase.LOADING
    after, _ = decide(rollout, late, rollout.deadline_at + 1)
    assert after.phase is Phase.ROLLED_BACK
    assert "front-2" in after.history[-1].why


def test_shadow_records_the_event_time_at_which_it_began(make: Any) -> None:
    after, _ = decide(make.rollout(Phase.LOADING), make.facts(None, make.T0), make.NOW)
    assert (after.started_event_ms, after.since_event_ms, after.shadow_bp) == (make.T0, make.T0, 10_000)
    assert after.expires_at == make.NOW + 600


def test_without_a_watermark_the_holds_count_from_the_first_one_known(make: Any) -> None:
    shadow, _ = decide(make.rollout(Phase.LOADING), make.facts(None, watermark_ms=None), make.NOW)
    assert (shadow.started_event_ms, shadow.since_event_ms) == (None, None)
    first, _ = decide(shadow, make.facts("satisfied", make.T0), make.NOW)
    assert (first.phase, first.since_event_ms, first.started_event_ms) == (Phase.SHADOW, make.T0, make.T0)
    assert decide(first, make.facts("satisfied", make.T0 + HOUR_MS), make.NOW)[0].phase is Phase.CANARY


@pytest.mark.parametrize(
    ("phase", "hold_ms", "to"),
    [
        (Phase.SHADOW, HOUR_MS, Phase.CANARY),
        (Phase.CANARY, HOUR_MS, Phase.RAMP),
        (Phase.RAMP, 24 * HOUR_MS, Phase.BAKE),
        (Phase.BAKE, HOUR_MS, Phase.DONE),
    ],
)
def test_a_hold_is_event_time_that_the_evidence_covers(make: Any, phase: Phase, hold_ms: int, to: Phase) -> None:
    rollout = make.rollout(phase)
    early = make.facts("satisfied", make.T0 + hold_ms - 1, watermark_ms=make.T0 + 9 * hold_ms)
    assert decide(rollout, early, make.NOW)[0].phase is phase
    assert decide(rollout, make.facts("satisfied", make.T0 + hold_ms), make.NOW)[0].phase is to


def test_shadow_needs_evidence_that_has_begun(make: Any) -> None:
    facts = make.facts("inconclusive")
    cells = tuple(cell.model_copy(update={"estimate": None}) for cell in facts.evidence.cells)
    burning = replace(facts, evidence=facts.evidence.model_copy(update={"cells": cells}))
    rollout = make.rollout(Phase.SHADOW)
    assert decide(rollout, burning, make.NOW)[0].phase is Phase.SHADOW
    assert "burn-in" in waits_for(rollout, burning, make.NOW)


def test_each_step_of_the_ramp_grows_the_share_once(make: Any) -> None:
    plan = Plan(steps=tuple(Step(canary_bp=bp, hold_s=0) for bp in (100, 500, 5000)), cycle_s=0, shadow_hold_s=0)
    rollout, seen = make.rollout(Phase.SHADOW, plan=plan), []
    while rollout.phase is not Phase.BAKE:
        rollout, actions = decide(rollout, make.facts(), make.NOW)
        seen.append((rollout.phase, rollout.step, rollout.canary_bp))
    ramp = [(Phase.CANARY, 1, 100), (Phase.RAMP, 2, 500), (Phase.RAMP, 3, 5000)]
    assert seen == [*ramp, (Phase.BAKE, 3, 0)]
    assert actions == (Promote(2, rollout.history[-1].why),)
    assert (rollout.promoted, rollout.shadow_bp) == (True, 10_000)  # the old stable is the shadow now


def test_promotion_waits_for_a_cycle_in_the_evidence(make: Any) -> None:
    facts = make.facts("satisfied", make.T0 + 3 * HOUR_MS)
    assert "cycle of 86400 s" in waits_for(make.rollout(Phase.RAMP), facts, make.NOW)
    unknown = replace(facts, evidence=facts.evidence.model_copy(update={"first_event_ms": None}))
    assert waits_for(make.rollout(Phase.RAMP), unknown, make.NOW) == "evidence that covers event time"


@pytest.mark.parametrize("phase", [Phase.SHADOW, Phase.CANARY, Phase.RAMP])
def test_an_undecided_rollout_awaits_approval_with_the_guards_named(make: Any, phase: Phase) -> None:
    facts = make.facts("inconclusive", make.T0 + 60 * make.DAY_MS)
    if phase is Phase.SHADOW:
        facts = replace(facts, evidence=None)
    rollout = make.rollout(phase)
    after, actions = decide(rollout, facts, make.NOW)
    assert after.phase is Phase.AWAITING_APPROVAL
    assert (after.canary_bp, after.shadow_bp) == (rollout.canary_bp, rollout.shadow_bp)
    assert ("click / overall / auc" if facts.evidence else "no evidence") in after.history[-1].why
    assert isinstance(actions[0], Alert)


def test_a_rollback_is_explained_in_numbers(make: Any) -> None:
    after, _ = decide(make.rollout(Phase.CANARY), make.facts("violated"), make.NOW)
    assert after.history[-1].why == (
        "violated: click / overall / auc (shadow): estimate 0.0312, interval [0.011, 0.052], margin 0.01, "
        "12345 labels, 678 positives; E = 23.5, limit 20"
    )
    assert after.history[-1].evidence == make.evidence("violated").digest


def test_a_violation_in_the_bake_brings_the_old_stable_back(make: Any) -> None:
    after, actions = decide(make.rollout(Phase.BAKE), make.facts("violated"), make.NOW)
    assert (after.phase, after.promoted) == (Phase.ROLLED_BACK, False)
    assert Restore(1, after.history[-1].why) in actions


def test_event_time_while_paused_counts_for_no_hold(make: Any) -> None:
    rollout = make.rollout(Phase.CANARY)
    half = make.facts("satisfied", make.T0 + HOUR_MS // 2)
    paused, _ = decide(rollout, replace(half, ask=Ask("pause", "", "ann")), make.NOW)
    assert (paused.canary_bp, paused.shadow_bp) == (rollout.canary_bp, rollout.shadow_bp)
    later = make.facts("satisfied", make.T0 + 10 * HOUR_MS)
    assert decide(paused, later, make.NOW)[0].phase is Phase.PAUSED
    back, _ = decide(paused, replace(later, ask=Ask("resume", "", "ann")), make.NOW)
    assert decide(back, make.facts("satisfied", make.T0 + 10 * HOUR_MS + 1), make.NOW)[0].phase is Phase.CANARY
    over = make.facts("satisfied", make.T0 + 10 * HOUR_MS + HOUR_MS // 2)
    assert decide(back, over, make.NOW)[0].phase is Phase.RAMP


def test_shares_are_renewed_only_while_a_monitor_watches(make: Any) -> None:
    rollout = make.rollout(Phase.CANARY, expires_at=make.NOW + 479)
    assert decide(rollout, make.facts(None), make.NOW)[0].expires_at == make.NOW + 600
    silent = make.facts(None, monitor_seen_at=make.NOW - 61)
    assert decide(rollout, silent, make.NOW)[0].expires_at == make.NOW + 479
    fresh = make.rollout(Phase.CANARY, expires_at=make.NOW + 480)
    assert decide(fresh, make.facts(None), make.NOW)[0].expires_at == make.NOW + 480


@pytest.mark.parametrize("place", [(Phase.PAUSED, Phase.RAMP), (Phase.AWAITING_APPROVAL, None)])
def test_shares_of_a_rollout_that_stands_still_are_renewed_too(make: Any, place: Any) -> None:
    rollout = make.rollout(*place, expires_at=make.NOW + 1)
    assert decide(rollout, make.facts(None), make.NOW)[0].expires_at == make.NOW + 600


def test_an_override_needs_a_reason(make: Any) -> None:
    with pytest.raises(BadInput, match="reason"):
        decide(make.rollout(Phase.CANARY), make.facts(ask=Ask("promote", "  ", "ann")), make.NOW)


def test_deciding_twice_is_deciding_once(make: Any) -> None:
    rollout = make.rollout(Phase.CANARY)
    held, _ = decide(rollout, make.facts("inconclusive", make.T0), make.NOW)
    assert decide(held, make.facts("inconclusive", make.T0), make.NOW) == (held, ())


def test_a_culprit_is_named_with_the_numbers_of_the_stream_that_carried_it(make: Any) -> None:
    evidence = make.evidence("violated")
    (shadow,) = evidence.cells
    canary = shadow.model_copy(update={"stream": "canary", "estimate": None, "e_violated": 0.0, "labels": 47})
    why = blamed(evidence.model_copy(update={"cells": (shadow, canary)}))
    assert "(shadow): estimate 0.0312" in why
    assert "47 labels" not in why
