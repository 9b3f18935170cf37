"""Whatever the facts do, in whatever order, some things never happen."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from controller.actions import Alert
from controller.decide import decide
from controller.rollouts import Ask
from serinus.errors import SerinusError
from serinus.jobs import JOB_ENDS
from serinus.rollouts import ENDS, Phase, Plan, Preflight, Step
from serinus.routes import ReplicaReport
from serinus.transitions import COMMANDS, listed
from serinus.windows import Windows

PLAN = Plan(
    preflight=Preflight(deadline_s=60),
    shadow_hold_s=100,
    steps=(Step(canary_bp=100, hold_s=100), Step(canary_bp=1000, hold_s=100), Step(canary_bp=1000, hold_s=0)),
    cycle_s=900,
    bake_s=100,
    max_duration_s=2000,
    alert_after_s=60,
)
GATED = (
    Step(canary_bp=100, hold_s=100, needs=("click / overall / auc",)),
    Step(canary_bp=1000, hold_s=0, gate="manual"),
    Step(canary_bp=2000, hold_s=0, needs=()),
)
PLANS = (PLAN, PLAN, PLAN.model_copy(update={"steps": GATED}), PLAN.model_copy(update={"dry_run": True}))
EARLY = (Phase.LOADING, Phase.PREFLIGHT, Phase.SHADOW, Phase.ROLLED_BACK, Phase.AWAITING_APPROVAL)
"""Where a rollout may get to without evidence: it is loaded, cannot be, or waited too long."""
ALWAYS = {"begin", "loaded", "held", "violated"}
"""What comes up whatever is drawn; `test_killed_anywhere` goes through every row of the table."""
SHUT = Windows.model_validate({"freezes": [{"start": "2000-01-01T00:00:00Z", "end": "2100-01-01T00:00:00Z"}]})


def test_a_rollout_keeps_its_promises_whatever_comes(make: Any) -> None:
    reached: set[Phase] = set()
    triggers: set[str] = set()

    class Rolling(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.now = make.NOW
            self.facts = make.facts(None, watermark_ms=None, replicas=(), monitor_seen_at=None)
            self.rollout = make.rollout(Phase.PENDING, plan=PLAN, history=())

        @initialize(
            phase=st.sampled_from(
                [
                    Phase.QUEUED,
                    Phase.QUEUED,
                    Phase.PENDING,
                    Phase.LOADING,
                    Phase.PREFLIGHT,
                    Phase.SHADOW,
                    Phase.CANARY,
                    Phase.RAMP,
                    Phase.RAMP,
                ]
            ),
            plan=st.sampled_from(PLANS),
        )
        def it_has_come_so_far(self, phase: Phase, plan: Plan) -> None:
            self.rollout = make.rollout(phase, plan=plan, history=())
            self.facts = replace(self.facts, stable=1, behind=("another",))

        @rule(gone=st.booleans(), stable=st.sampled_from([1, 1, 2, 3]), unfit=st.sampled_from(["", "no task"]))
        def the_queue_moves(self, gone: bool, stable: int, unfit: str) -> None:
            behind = () if gone else self.facts.behind
            self.facts = replace(self.facts, behind=behind, stable=stable, unfit=unfit)

        @rule(shut=st.booleans(), whose=st.sampled_from(["plan", "sla"]))
        def a_window_closes_or_opens(self, shut: bool, whose: str) -> None:
            if whose == "sla":
                self.facts = replace(self.facts, windows=SHUT if shut else None)
            else:
                plan = self.rollout.plan.model_copy(update={"windows": SHUT if shut else None})
                self.rollout = replace(self.rollout, plan=plan)

        @rule(seconds=st.integers(1, 500))
        def nobody_is_there_for_a_while(self, seconds: int) -> None:
            self.now += seconds
            self.facts = replace(self.facts, dead_s=self.facts.dead_s + seconds)

        @rule(seconds=st.integers(1, 100))
        def wall_time_passes(self, seconds: int) -> None:
            self.now += seconds

        @rule(seconds=st.integers(1, 800), verdict=st.sampled_from(["satisfied"] * 4 + ["inconclusive", "error"]))
        def evidence_comes(self, seconds: int, verdict: str) -> None:
            at = (self.facts.watermark_ms or make.T0) + seconds * 1000
            self.learn(verdict, at, self.facts.replicas)

        @rule(verdict=st.sampled_from(["satisfied", "satisfied", "inconclusive"]), looks=st.integers(1, 4))
        @precondition(lambda self: self.rollout.phase not in ENDS)
        def all_is_well_for_a_while(self, verdict: str, looks: int) -> None:
            for _ in range(looks):
                self.now += 5
                at = (self.facts.watermark_ms or make.T0) + 150_000
                self.learn(verdict, at, make.replicas())
                self.step(None)

        @rule(share=st.sampled_from([9, 8, 7, 6, 5, 4, 3, 2, 1, 0]))
        def evidence_is_violated(self, share: int) -> None:
            if share == 0:
                at = self.facts.watermark_ms or make.T0
                self.learn("violated", at, self.facts.replicas)

        @rule(seconds=st.integers(700, 2000))
        def the_ramp_is_held(self, seconds: int) -> None:
            at = (self.facts.watermark_ms or make.T0) + seconds * 1000
            self.learn("satisfied", at, self.facts.replicas)
            held = self.facts.evidence.model_copy(update={"holds": ("click / overall / shift: 1.41, limit 1.25",)})
            self.facts = replace(self.facts, evidence=held)

        @rule(state=st.sampled_from(["queued", "running", "running", "done", "done", "failed"]), bad=st.integers(0, 9))
        def the_preflight_goes_on(self, state: str, bad: int) -> None:
            self.facts = replace(self.facts, **make.preflight(state, "violated" if bad == 0 else "inconclusive"))

        @rule(count=st.sampled_from([3, 3, 3, 2]), fails=st.sampled_from([5, 4, 3, 2, 1, 0]))
        def replicas_report(self, count: int, fails: int) -> None:
            reports = make.replicas()[:count]
            if fails == 0:
                reports = (*reports, ReplicaReport(replica="x", role="front", failed={"digest-2": "broken"}))
            self.facts = replace(self.facts, replicas=reports)

        @rule(
            command=st.sampled_from(["resume", *COMMANDS]),
            reason=st.sampled_from(["", "because"]),
            dice=st.sampled_from([2, 1, 0]),
        )
        def human_commands(self, command: Any, reason: str, dice: int) -> None:
            if dice and command in ("promote", "abort", "rollback"):
                return  # else few rollouts would live long
            try:
                self.step(Ask(command, reason, "ann"))
            except SerinusError:
                return

        @rule()
        @precondition(lambda self: self.rollout.phase not in ENDS)
        def controller_decides(self) -> None:
            self.step(None)

        def learn(self, verdict: str, at_ms: int, replicas: tuple[ReplicaReport, ...]) -> None:
            kept = ("preflight", "replay", "windows", "dead_s", "behind", "stable", "unfit")
            known = {name: getattr(self.facts, name) for name in kept}
            self.facts = make.facts(verdict, at_ms, replicas=replicas, monitor_seen_at=self.now, **known)

        def step(self, ask: Ask | None) -> None:
            facts, before = replace(self.facts, ask=ask), self.rollout
            allowed = before.allowed
            after, actions = decide(before, facts, self.now)
            self.rollout = after
            reached.add(after.phase)
            assert decide(before, facts, self.now) == (after, actions)
            assert after.plan == before.plan
            verdict = facts.evidence.verdict if facts.evidence else None
            moved = len(after.history) - len(before.history)
            assert moved in (0, 1)
            if moved:
                last = after.history[-1]
                triggers.add(last.trigger)
                assert listed(before.phase, after.phase, last.trigger)
                assert (last.start, last.to) == (before.phase, after.phase)
                assert (last.trigger in COMMANDS) == (last.actor == "ann")
                assert last.trigger not in COMMANDS or last.trigger in allowed
                assert last.trigger not in ("skip", "promote") or "because" in last.why
            else:
                assert after.phase is before.phase
            told = [
                (action.kind, action.key) for action in actions if isinstance(action, Alert) and not action.resolved
            ]
            assert not {key for _, key in told} & {said.key for said in before.said}  # what was said is said
            rejected = facts.replay is not None and facts.replay.evidence.verdict == "violated"
            bad = before.running and (verdict == "violated" or (rejected and before.in_preflight))
            if bad and not before.plan.dry_run:
                assert after.phase is Phase.ROLLED_BACK
                return
            if before.plan.dry_run and ask is None:
                assert not moved or last.trigger not in ("violated", "held") or not after.promoted or before.promoted
                assert not bad or after.canary_bp <= before.canary_bp
            shut = SHUT in (before.plan.windows, facts.windows)
            grows = after.canary_bp > before.canary_bp or (after.promoted and not before.promoted)
            assert not (grows and shut) or last.trigger == "promote"
            if before.phase is Phase.QUEUED and ask is None:
                assert after.phase is Phase.QUEUED if facts.behind else after.phase is not Phase.QUEUED
                assert not after.running or (after.baseline == facts.stable and not facts.unfit)
                return
            if before.phase is Phase.PREFLIGHT and ask is None:
                ended = facts.preflight is not None and facts.preflight.state in JOB_ENDS
                late = self.now - facts.dead_s > before.deadline_at
                assert after.phase is not before.phase or not (ended or late)
                assert after.phase in (Phase.PREFLIGHT, Phase.SHADOW, Phase.ROLLED_BACK)
            if after.phase is Phase.BAKE and before.phase is not Phase.BAKE and ask is None:
                assert not facts.evidence.holds
                assert verdict == "satisfied"
                assert self.now - facts.monitor_seen_at <= 60
                assert facts.evidence.watermark_ms - facts.evidence.first_event_ms >= PLAN.cycle_s * 1000
                assert before.last_step
            if after.canary_bp > before.canary_bp:
                assert after.step == before.step + 1
                assert ask is not None or not facts.evidence.holds
                assert ask is not None or verdict in ("satisfied", "inconclusive")
                assert (
                    ask is not None or verdict == "satisfied" or after.step == 1 or before.plan.steps is not PLAN.steps
                )
                assert ask is None or ask.command in ("skip", "approve")
            assert after.step in (before.step, before.step + 1)
            if ask is None and verdict in (None, "error") and before.phase is not Phase.PREFLIGHT:
                assert after.phase in (before.phase, *EARLY)

        @invariant()
        def shares_are_what_the_phase_allows(self) -> None:
            rollout = self.rollout
            if rollout.phase in ENDS or rollout.phase in (Phase.QUEUED, Phase.PENDING, Phase.LOADING, Phase.PREFLIGHT):
                assert (rollout.canary_bp, rollout.shadow_bp, rollout.expires_at) == (0, 0, None)
            if rollout.shares:
                assert rollout.expires_at is not None
                assert rollout.expires_at <= self.now + 600
            if rollout.promoted:
                assert rollout.canary_bp == 0
            assert (rollout.phase is Phase.PAUSED) == (rollout.paused_from is not None)

        @invariant()
        def the_history_is_a_chain(self) -> None:
            moves = self.rollout.history
            assert all(a.to == b.start for a, b in itertools.pairwise(moves))
            assert not moves or moves[-1].to == self.rollout.phase

    careful = settings(max_examples=250, stateful_step_count=50, deadline=None, derandomize=True)
    run_state_machine_as_test(Rolling, settings=careful)
    more = settings(careful, max_examples=100, derandomize=False, database=None)
    for _ in range(20):  # what is drawn depends on the other modules that are loaded, so no one run is sure to see all
        if reached == set(Phase) and triggers >= ALWAYS:
            break
        run_state_machine_as_test(Rolling, settings=more)
    assert reached == set(Phase)  # else it would have proven little
    assert triggers >= ALWAYS
