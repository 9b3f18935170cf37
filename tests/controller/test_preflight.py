"""What the preflight may do to its rollout, and what it may not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.actions import Alert
from controller.decide import decide
from controller.gates import waits_for
from controller.rollouts import Ask
from serinus.errors import BadInput
from serinus.rollouts import Phase, Plan, Preflight

PLAN = Plan(preflight=Preflight(deadline_s=600, alpha_share=0.2), shadow_hold_s=3600)


def test_loading_leads_to_the_preflight_where_the_plan_has_one(make: Any) -> None:
    after, _ = decide(make.rollout(Phase.LOADING, plan=PLAN), make.facts(None), make.NOW)
    assert (after.phase, after.deadline_at) == (Phase.PREFLIGHT, make.NOW + 600)
    assert (after.shadow_bp, after.expires_at, after.started_event_ms) == (0, None, None)
    assert decide(make.rollout(Phase.LOADING), make.facts(None), make.NOW)[0].phase is Phase.SHADOW


def test_a_rejection_names_the_culprit_and_rests_on_the_replay(make: Any) -> None:
    facts = make.facts(None, **make.preflight("done", "violated"))
    after, actions = decide(make.rollout(Phase.PREFLIGHT), facts, make.NOW)
    last = after.history[-1]
    assert (after.phase, after.verdict, last.actor) == (Phase.ROLLED_BACK, "violated", "controller")
    assert last.evidence == facts.replay.evidence.digest
    assert last.why.startswith("preflight, violated: click / overall / auc (replay): estimate 0.0312")
    assert "of 5,000 requests 1,000 had their inputs logged (20.0%)" in last.why
    assert any(isinstance(action, Alert) for action in actions)


def test_it_rejects_while_paused_and_whatever_is_asked(make: Any) -> None:
    facts = make.facts(None, ask=Ask("promote", "because", "ann"), **make.preflight("done", "violated"))
    for rollout in (make.rollout(Phase.PREFLIGHT), make.rollout(Phase.PAUSED, Phase.PREFLIGHT)):
        assert decide(rollout, facts, make.NOW)[0].phase is Phase.ROLLED_BACK


@pytest.mark.parametrize("phase", [Phase.SHADOW, Phase.CANARY, Phase.RAMP, Phase.BAKE])
def test_a_rejection_is_heeded_in_its_phase_only(make: Any, phase: Phase) -> None:
    facts = make.facts(None, **make.preflight("done", "violated"))
    assert decide(make.rollout(phase, plan=PLAN), facts, make.NOW)[0].phase is phase


def test_a_verdict_at_a_limit_lower_than_its_part_of_alpha_rejects_nothing(make: Any) -> None:
    told = make.preflight("done", "violated")
    lenient = told["replay"].evidence.model_copy(update={"limit": 99.0})
    told["replay"] = told["replay"].model_copy(update={"evidence": lenient})
    after, actions = decide(make.rollout(Phase.PREFLIGHT), make.facts(None, **told), make.NOW)
    assert after.phase is Phase.SHADOW
    assert "not that of its part of alpha" in after.history[-1].why
    assert isinstance(actions[0], Alert)


@pytest.mark.parametrize("verdict", ["satisfied", "inconclusive", "error"])
def test_whatever_else_it_finds_it_leads_to_the_shadow_and_no_further(make: Any, verdict: str) -> None:
    facts = make.facts(None, **make.preflight("done", verdict))
    after, actions = decide(make.rollout(Phase.PREFLIGHT), facts, make.NOW)
    assert (after.phase, after.shadow_bp, after.deadline_at, actions) == (Phase.SHADOW, 10_000, None, ())
    assert "does not reject it: E = 0.2; of 5,000 requests" in after.history[-1].why


@pytest.mark.parametrize(
    ("state", "verdict", "changes", "said"),
    [
        ("failed", None, {}, "it failed: day 3 of 7"),
        ("cancelled", None, {}, "it cancelled"),
        ("done", None, {"with_inputs": 0, "rows": 0, "why": "none of them had its inputs logged"}, "none of them had"),
        ("done", "satisfied", {"rows": 0}, "no row could be scored"),
    ],
)
def test_without_evidence_it_goes_on_and_says_so_loudly(
    make: Any, state: str, verdict: str | None, changes: Any, said: str
) -> None:
    facts = make.facts(None, **make.preflight(state, verdict, **changes))
    after, actions = decide(make.rollout(Phase.PREFLIGHT), facts, make.NOW)
    assert after.phase is Phase.SHADOW
    assert after.history[-1].why.startswith("without a preflight: ")
    assert said in after.history[-1].why
    assert isinstance(actions[0], Alert)
    assert said in actions[0].text


def test_a_result_that_cannot_be_read_is_none(make: Any) -> None:
    facts = make.facts(None, preflight=make.preflight("done")["preflight"])
    after, actions = decide(make.rollout(Phase.PREFLIGHT), facts, make.NOW)
    assert "cannot be read" in after.history[-1].why
    assert actions


@pytest.mark.parametrize("state", [None, "queued", "running"])
def test_it_blocks_until_its_deadline_and_no_longer(make: Any, state: str | None) -> None:
    rollout, facts = make.rollout(Phase.PREFLIGHT), make.facts(None, **make.preflight(state))
    assert decide(rollout, facts, rollout.deadline_at) == (rollout, ())
    after, actions = decide(rollout, facts, rollout.deadline_at + 1)
    assert after.phase is Phase.SHADOW
    assert "its deadline is over" in after.history[-1].why
    assert isinstance(actions[0], Alert)


def test_what_it_waits_for_is_shown(make: Any) -> None:
    def waiting(**known: Any) -> str:
        return waits_for(make.rollout(Phase.PREFLIGHT), make.facts(None, **known), make.NOW)

    assert waiting() == "the preflight to be queued"
    assert "a monitor that is free" in waiting(**make.preflight("queued"))
    assert waiting(**make.preflight("running")) == "the preflight, 50%: day 3 of 7"
    assert "none has called" in waiting(monitor_seen_at=make.NOW - 61, **make.preflight("running"))


def test_a_human_may_skip_it_with_a_reason_and_resuming_gives_it_its_time_again(make: Any) -> None:
    rollout = make.rollout(Phase.PREFLIGHT)
    with pytest.raises(BadInput, match="reason"):
        decide(rollout, make.facts(None, ask=Ask("approve", "", "ann")), make.NOW)
    after, _ = decide(rollout, make.facts(None, ask=Ask("approve", "a fix for an outage", "ann")), make.NOW)
    assert (after.phase, after.history[-1].why) == (Phase.SHADOW, "approve: a fix for an outage")
    paused, _ = decide(rollout, make.facts(None, ask=Ask("pause", "", "ann")), make.NOW)
    late = make.NOW + 99_999
    assert decide(paused, make.facts(None), late)[0].phase is Phase.PAUSED
    back, _ = decide(paused, make.facts(None, ask=Ask("resume", "", "ann")), late)
    assert (back.phase, back.paused_from, back.deadline_at) == (Phase.PREFLIGHT, None, late + 3600)


def test_its_part_of_alpha_is_taken_from_the_live_streams() -> None:
    assert PLAN.replay_alpha == pytest.approx(0.01)
    assert PLAN.live_alpha == pytest.approx(0.04)
    assert (Plan().replay_alpha, Plan().live_alpha) == (0.0, 0.05)


@pytest.mark.parametrize("phase", [Phase.SHADOW, Phase.CANARY, Phase.RAMP])
def test_what_holds_stops_the_ramp_shows_itself_and_rolls_nothing_back(make: Any, phase: Phase) -> None:
    facts = make.facts("satisfied")
    held = facts.evidence.model_copy(update={"holds": ("click / overall / shift: 1.41, limit 1.25",)})
    rollout = make.rollout(phase)
    holding = replace(facts, evidence=held, watermark_ms=make.T0 + make.DAY_MS)
    assert decide(rollout, holding, make.NOW)[0].phase is phase
    assert waits_for(rollout, holding, make.NOW) == "held: click / overall / shift: 1.41, limit 1.25"
    assert decide(rollout, facts, make.NOW)[0].phase is not phase, "and it ends with the look that is without it"
    overdue = replace(holding, watermark_ms=make.T0 + 60 * make.DAY_MS)
    after, _ = decide(rollout, overdue, make.NOW)
    assert after.phase is Phase.AWAITING_APPROVAL
    assert "held: click / overall / shift" in after.history[-1].why
