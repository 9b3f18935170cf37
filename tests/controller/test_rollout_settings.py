"""Skipping, manual gates, what steps need, windows, dry runs, and evidence that does not come."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.actions import Alert, Promote
from controller.decide import decide
from controller.gates import waits_for
from controller.needs import unmet
from controller.rollouts import Ask, Rollout
from serinus.errors import BadInput, IllegalMove
from serinus.plans import check_plan
from serinus.rollouts import Command, Phase, Step
from serinus.windows import Windows

HOUR_MS = 3_600_000
ALWAYS_SHUT = Windows.model_validate(
    {"freezes": [{"start": "2000-01-01T00:00:00Z", "end": "2050-01-01T00:00:00Z", "reason": "a fair"}]}
)


def ask(command: Command, reason: str = "because") -> Ask:
    return Ask(command, reason, "ann")


def planned(make: Any, phase: Phase, **changes: Any) -> Rollout:
    rollout: Rollout = make.rollout(phase, plan=make.PLAN.model_copy(update=changes))
    return rollout


def steps(make: Any, **changes: Any) -> tuple[Step, ...]:
    return tuple(step.model_copy(update=changes) for step in make.PLAN.steps)


@pytest.mark.parametrize(
    ("phase", "to", "share"),
    [(Phase.PREFLIGHT, Phase.SHADOW, 0), (Phase.SHADOW, Phase.CANARY, 100), (Phase.CANARY, Phase.RAMP, 1000)],
)
def test_skipping_needs_a_reason_and_goes_on_without_the_evidence(
    make: Any, phase: Phase, to: Phase, share: int
) -> None:
    rollout, facts = make.rollout(phase), make.facts("inconclusive", make.T0)
    with pytest.raises(BadInput, match="reason"):
        decide(rollout, replace(facts, ask=ask("skip", " ")), make.NOW)
    after, _ = decide(rollout, replace(facts, ask=ask("skip")), make.NOW)
    last = after.history[-1]
    assert (after.phase, after.canary_bp, last.trigger, last.why) == (to, share, "skip", "skip: because")


def test_the_last_step_cannot_be_skipped_for_that_would_promote(make: Any) -> None:
    rollout = make.rollout(Phase.RAMP)
    assert "skip" not in rollout.allowed
    with pytest.raises(IllegalMove, match="skip is not possible"):
        decide(rollout, make.facts(ask=ask("skip")), make.NOW)


def test_nothing_is_skipped_while_a_replica_cannot_load_the_candidate(make: Any) -> None:
    broken = tuple(r.model_copy(update={"failed": {"digest-2": "no memory"}}) for r in make.replicas())
    with pytest.raises(IllegalMove, match="no memory"):
        decide(make.rollout(Phase.CANARY), make.facts(replicas=broken, ask=ask("skip")), make.NOW)


def test_a_manual_gate_is_asked_for_when_all_the_rest_is_there(make: Any) -> None:
    rollout = planned(make, Phase.CANARY, steps=steps(make, gate="manual"))
    assert decide(rollout, make.facts("inconclusive"), make.NOW)[0].phase is Phase.CANARY
    at_gate, (alert,) = decide(rollout, make.facts(), make.NOW)
    assert (at_gate.phase, at_gate.canary_bp) == (Phase.AWAITING_APPROVAL, 100)
    assert isinstance(alert, Alert)
    assert (alert.kind, alert.rollout) == ("awaiting_approval", "r1")
    assert "manual gate" in waits_for(at_gate, make.facts(), make.NOW)
    second, _ = decide(at_gate, make.facts(ask=ask("approve", "")), make.NOW)
    assert (second.phase, second.step, second.canary_bp) == (Phase.RAMP, 2, 1000)
    end, actions = decide(second, make.facts("satisfied", make.T0 + 60 * make.DAY_MS), make.NOW)
    assert (end.phase, actions[0].kind) == (Phase.AWAITING_APPROVAL, "awaiting_approval")
    promoted, actions = decide(end, make.facts(ask=ask("approve", "")), make.NOW)
    assert (promoted.phase, actions) == (Phase.BAKE, (Promote(2, "approve"),))


def test_to_approve_what_is_undecided_needs_a_reason(make: Any) -> None:
    overdue, _ = decide(make.rollout(Phase.RAMP), make.facts("inconclusive", make.T0 + 60 * make.DAY_MS), make.NOW)
    with pytest.raises(BadInput, match="undecided"):
        decide(overdue, make.facts("inconclusive", ask=ask("approve", "")), make.NOW)
    assert decide(overdue, make.facts("inconclusive", ask=ask("approve")), make.NOW)[0].phase is Phase.BAKE


def test_a_violation_wins_over_gate_skip_and_approval(make: Any) -> None:
    gated = planned(make, Phase.CANARY, steps=steps(make, gate="manual"))
    at_gate, _ = decide(gated, make.facts(), make.NOW)
    for rollout, command in ((at_gate, "approve"), (gated, "skip")):
        after, _ = decide(rollout, make.facts("violated", ask=ask(command)), make.NOW)
        assert (after.phase, after.history[-1].trigger) == (Phase.ROLLED_BACK, "violated")


@pytest.mark.parametrize(
    ("needs", "verdict", "goes"),
    [
        (None, "inconclusive", False),
        (None, "satisfied", True),
        ((), "inconclusive", True),
        ((), "error", False),
        (("click / overall / auc",), "inconclusive", False),
        (("click / overall / auc",), "satisfied", True),
        (("click / */ auc",), "satisfied", True),
        (("buy / overall / auc",), "satisfied", False),
    ],
)
def test_a_step_is_left_when_what_it_needs_is_satisfied(make: Any, needs: Any, verdict: str, goes: bool) -> None:
    rollout = planned(make, Phase.CANARY, steps=steps(make, needs=needs))
    facts = make.facts(verdict)
    assert (decide(rollout, facts, make.NOW)[0].phase is Phase.RAMP) == goes
    assert (waits_for(rollout, facts, make.NOW) == "") == goes


def test_the_promotion_needs_every_required_guard_whatever_the_last_step_says(make: Any) -> None:
    rollout = planned(make, Phase.RAMP, steps=steps(make, needs=()))
    assert decide(rollout, make.facts("inconclusive"), make.NOW)[0].phase is Phase.RAMP


def test_of_a_guard_in_two_streams_the_one_that_promotion_waits_for_counts(make: Any) -> None:
    (shadow,) = make.evidence("inconclusive").cells
    canary = shadow.model_copy(update={"stream": "canary", "role": "optional", "verdict": "satisfied"})
    evidence = make.evidence("inconclusive", cells=(shadow, canary))
    assert unmet((shadow.name,), evidence)
    optional = evidence.model_copy(update={"cells": (shadow.model_copy(update={"role": "optional"}), canary)})
    assert unmet((shadow.name,), optional) == []


def test_a_plan_that_needs_a_guard_that_is_not_there_is_refused(make: Any) -> None:
    with pytest.raises(BadInput, match="names no guard"):
        check_plan(make.PLAN.model_copy(update={"steps": steps(make, needs=("click / overall / beauty",))}), make.SLA)
    check_plan(make.PLAN.model_copy(update={"steps": steps(make, needs=("click / overall / *",))}), make.SLA)


@pytest.mark.parametrize("whose", ["plan", "sla"])
@pytest.mark.parametrize("phase", [Phase.SHADOW, Phase.CANARY, Phase.RAMP])
def test_outside_of_its_windows_nothing_grows_and_nothing_is_promoted(make: Any, whose: str, phase: Phase) -> None:
    rollout = planned(make, phase, windows=ALWAYS_SHUT if whose == "plan" else None)
    facts = make.facts(windows=ALWAYS_SHUT if whose == "sla" else None)
    assert decide(rollout, facts, make.NOW)[0].phase is phase
    assert (
        waits_for(rollout, facts, make.NOW) == "the time at which it may go on, 2050-01-01 00:00 UTC: a freeze: a fair"
    )
    assert decide(rollout, replace(facts, evidence=make.evidence("violated")), make.NOW)[0].phase is Phase.ROLLED_BACK
    if phase is not Phase.RAMP:
        with pytest.raises(IllegalMove, match="2050"):
            decide(rollout, replace(facts, ask=ask("skip")), make.NOW)
    assert decide(rollout, replace(facts, ask=ask("promote")), make.NOW)[0].phase is Phase.BAKE


def test_approval_waits_for_a_window_and_the_end_of_the_bake_does_not(make: Any) -> None:
    frozen = make.facts(windows=ALWAYS_SHUT)
    with pytest.raises(IllegalMove, match="2050"):
        decide(make.rollout(Phase.AWAITING_APPROVAL), replace(frozen, ask=ask("approve")), make.NOW)
    assert decide(make.rollout(Phase.BAKE), frozen, make.NOW)[0].phase is Phase.DONE
    loading = decide(make.rollout(Phase.LOADING), frozen, make.NOW)[0]
    assert loading.phase is Phase.SHADOW  # copies only: no user sees the candidate


def test_a_dry_run_says_once_what_it_would_have_done_and_goes_no_further(make: Any) -> None:
    rollout, facts = planned(make, Phase.CANARY, dry_run=True), make.facts("violated")
    after, (alert,) = decide(rollout, facts, make.NOW)
    assert (after.phase, after.canary_bp) == (Phase.CANARY, 100)
    assert alert.kind == "dry_run"
    assert "would have been rolled back: violated: click / overall / auc" in alert.text
    assert [guard.guard for guard in alert.guards] == ["click / overall / auc"]
    assert decide(after, facts, make.NOW) == (after, ())
    assert "a person" in waits_for(after, facts, make.NOW)
    assert after.view("").dry_run == (after.said[0].text,)
    assert decide(after, replace(facts, ask=ask("rollback")), make.NOW)[0].phase is Phase.ROLLED_BACK


def test_a_dry_run_awaits_approval_where_it_would_have_been_promoted(make: Any) -> None:
    after, (alert,) = decide(planned(make, Phase.RAMP, dry_run=True), make.facts(), make.NOW)
    assert (after.phase, after.promoted, alert.kind) == (Phase.AWAITING_APPROVAL, False, "awaiting_approval")
    assert "would have been promoted" in after.history[-1].why
    violated = make.facts("violated", ask=ask("approve", ""))
    with pytest.raises(BadInput, match="violated"):
        decide(after, violated, make.NOW)
    assert decide(after, make.facts(ask=ask("approve", "")), make.NOW)[0].phase is Phase.BAKE


def test_a_preflight_that_rejects_in_a_dry_run_is_said_and_the_rollout_goes_on(make: Any) -> None:
    rollout = make.rollout(Phase.PREFLIGHT)
    rollout = replace(rollout, plan=rollout.plan.model_copy(update={"dry_run": True}))
    facts = make.facts(None, **make.preflight("done", "violated"))
    after, actions = decide(rollout, facts, make.NOW)
    assert after.phase is Phase.SHADOW
    assert "a dry run: else it would have been rolled back" in after.history[-1].why
    assert decide(replace(rollout, plan=rollout.plan.model_copy(update={"dry_run": False})), facts, make.NOW)[
        0
    ].phase is (Phase.ROLLED_BACK)
    assert all(action.kind == "dry_run" for action in actions)


def test_a_guard_in_dry_run_is_told_of_once_when_it_alone_would_have_rolled_back(make: Any) -> None:
    (cell,) = make.evidence("satisfied").cells
    dry = cell.model_copy(update={"metric": "log_loss", "role": "display", "weight": 0.5, "e_violated": 39.9})
    quiet = make.facts("satisfied", make.T0, evidence=make.evidence("satisfied", make.T0, cells=(cell, dry)))
    rollout = make.rollout(Phase.CANARY)
    assert decide(rollout, quiet, make.NOW)[1] == ()
    loud = dry.model_copy(update={"e_violated": 40.1})
    facts = replace(quiet, evidence=make.evidence("satisfied", make.T0, cells=(cell, loud)))
    after, (alert,) = decide(rollout, facts, make.NOW)
    assert (after.phase, alert.kind) == (Phase.CANARY, "dry_run")
    assert "click / overall / log_loss is in dry run; it would have rolled back" in alert.text
    assert decide(after, facts, make.NOW)[1] == ()
    shown = cell.model_copy(update={"metric": "ece", "role": "display", "weight": 0.0, "e_violated": 1e9})
    only_shown = replace(quiet, evidence=make.evidence("satisfied", make.T0, cells=(cell, shown)))
    assert decide(rollout, only_shown, make.NOW)[1] == ()


@pytest.mark.parametrize("lacks", ["evidence", "monitor", "error"])
@pytest.mark.parametrize("phase", [Phase.SHADOW, Phase.CANARY, Phase.BAKE, Phase.AWAITING_APPROVAL])
def test_without_evidence_it_holds_and_tells_somebody_once(make: Any, lacks: str, phase: Phase) -> None:
    rollout = planned(make, phase, alert_after_s=600)

    def facts(now: float) -> Any:
        seen = make.NOW - 100 if lacks == "monitor" else now
        verdict = {"evidence": None, "error": "error"}.get(lacks, "satisfied")
        return make.facts(verdict, monitor_seen_at=seen)

    told = []
    for second in range(0, 4000, 100):
        rollout, actions = decide(rollout, facts(make.NOW + second), make.NOW + second)
        told += [(second, action) for action in actions]
        assert rollout.phase is phase
    ((second, alert),) = told
    assert (second, alert.kind, alert.resolved) == (600, "held", False)
    again, (over,) = decide(
        rollout, make.facts("inconclusive", make.T0, monitor_seen_at=make.NOW + 4000), make.NOW + 4000
    )
    assert (again.lacking_since, again.said, over.kind, over.resolved, over.key) == (None, (), "held", True, alert.key)


def test_time_without_any_controller_counts_for_no_deadline(make: Any) -> None:
    rollout = make.rollout(Phase.LOADING)
    nobody = make.facts(replicas=())
    later = rollout.deadline_at + 1
    assert decide(rollout, nobody, later)[0].phase is Phase.ROLLED_BACK
    assert decide(rollout, replace(nobody, dead_s=1.0), later)[0].phase is Phase.LOADING
    begun, _ = decide(make.rollout(Phase.PENDING), replace(nobody, dead_s=50.0), make.NOW)
    assert begun.deadline_at == make.NOW - 50 + 300
    preflight = make.rollout(Phase.PREFLIGHT)
    facts = make.facts(None, **make.preflight("queued"))
    assert decide(preflight, replace(facts, dead_s=1.0), preflight.deadline_at + 1)[0].phase is Phase.PREFLIGHT
    assert decide(preflight, facts, preflight.deadline_at + 1)[0].phase is Phase.SHADOW


def test_what_people_see_of_a_rollout(make: Any) -> None:
    view = make.rollout(Phase.CANARY).view("")
    assert view.next_step == make.PLAN.steps[1]
    assert (view.canary_bp, view.shadow_bp) == (100, 10_000)
    assert view.allowed == ("pause", "skip", "abort", "promote", "rollback")
    assert make.rollout(Phase.RAMP).view("").next_step is None
    assert make.rollout(Phase.DONE).view("").allowed == ()
    paused = make.rollout(Phase.PAUSED, Phase.CANARY).view("")
    assert paused.allowed == ("resume", "abort", "promote", "rollback")
