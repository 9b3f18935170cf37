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

from controller.decide import decide
from controller.rollouts import FOLLOWS, Ask
from serinus.errors import SerinusError
from serinus.jobs import JOB_ENDS
from serinus.rollouts import ENDS, Phase, Plan, Preflight, Step
from serinus.routes import ReplicaReport

PLAN = Plan(
    preflight=Preflight(deadline_s=60),
    shadow_hold_s=100,
    steps=(Step(canary_bp=100, hold_s=100), Step(canary_bp=1000, hold_s=100), Step(canary_bp=1000, hold_s=0)),
    cycle_s=900,
    bake_s=100,
    max_duration_s=2000,
)


def test_a_rollout_keeps_its_promises_whatever_comes(make: Any) -> None:
    reached: set[Phase] = set()

    class Rolling(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.now = make.NOW
            self.facts = make.facts(None, watermark_ms=None, replicas=(), monitor_seen_at=None)
            self.rollout = make.rollout(Phase.PENDING, plan=PLAN, history=())

        @initialize(phase=st.sampled_from([Phase.PENDING, Phase.PREFLIGHT, Phase.SHADOW, Phase.RAMP, Phase.RAMP]))
        def it_has_come_so_far(self, phase: Phase) -> None:
            self.rollout = make.rollout(phase, plan=PLAN, history=())

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

        @rule(count=st.sampled_from([3, 3, 3, 2]), fails=st.sampled_from([9, 8, 7, 6, 5, 4, 3, 2, 1, 0]))
        def replicas_report(self, count: int, fails: int) -> None:
            reports = make.replicas()[:count]
            if fails == 0:
                reports = (*reports, ReplicaReport(replica="x", role="front", failed={"digest-2": "broken"}))
            self.facts = replace(self.facts, replicas=reports)

        @rule(
            command=st.sampled_from(["pause", "resume", "resume", "approve", "promote", "abort", "rollback"]),
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
            known = {"preflight": self.facts.preflight, "replay": self.facts.replay}
            self.facts = make.facts(verdict, at_ms, replicas=replicas, monitor_seen_at=self.now, **known)

        def step(self, ask: Ask | None) -> None:
            facts, before = replace(self.facts, ask=ask), self.rollout
            after, _ = decide(before, facts, self.now)
            self.rollout = after
            reached.add(after.phase)
            verdict = facts.evidence.verdict if facts.evidence else None
            assert len(after.history) - len(before.history) in (0, 1)
            if before.phase in ENDS:
                assert after == before
            elif after.phase != before.phase:
                assert after.phase in FOLLOWS[before.phase]
            rejected = facts.replay is not None and facts.replay.evidence.verdict == "violated"
            if (verdict == "violated" or (rejected and before.in_preflight)) and before.phase not in ENDS:
                assert after.phase is Phase.ROLLED_BACK
            if before.phase is Phase.PREFLIGHT and ask is None:
                ended = facts.preflight is not None and facts.preflight.state in JOB_ENDS
                late = self.now > before.deadline_at
                assert after.phase is not before.phase or not (ended or late)
                assert after.phase in (Phase.PREFLIGHT, Phase.SHADOW, Phase.ROLLED_BACK)
            if after.phase is Phase.BAKE and before.phase is not Phase.BAKE and ask is None:
                assert not facts.evidence.holds
                assert verdict == "satisfied"
                assert self.now - facts.monitor_seen_at <= 60
                assert facts.evidence.watermark_ms - facts.evidence.first_event_ms >= PLAN.cycle_s * 1000
                assert before.step == len(PLAN.steps)
            if after.canary_bp > before.canary_bp:
                assert not facts.evidence.holds
                assert verdict in ("satisfied", "inconclusive")
                assert after.step == before.step + 1
                assert verdict == "satisfied" or after.step == 1
            assert after.step in (before.step, before.step + 1)

        @invariant()
        def shares_are_what_the_phase_allows(self) -> None:
            rollout = self.rollout
            if rollout.phase in ENDS or rollout.phase in (Phase.PENDING, Phase.LOADING, Phase.PREFLIGHT):
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
    assert reached >= set(Phase) - {Phase.QUEUED, Phase.PENDING, Phase.SUPERSEDED}  # else it would have proven little
