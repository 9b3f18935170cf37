"""The route table carries what the SLA says of serving; a candidate counts as loaded by what each role must hold."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from controller.decide import decide
from controller.gates import waits_for
from controller.registry import put_model
from controller.routes import derive, publish
from controller.tables import Model, Route
from serinus.rollouts import Phase
from serinus.routes import HeadPolicy, PackageRef, ReplicaReport
from serinus.sla import Sla

SERVED = Sla.from_yaml(
    """
    model: ads
    tasks:
      click: {label_window_s: 60, absent: negative, head: {budget_ms: 1.5, fallback: last_known_good}}
      buy: {label_window_s: 60, absent: negative}
    slices: {tier: [gold, basic]}
    serving: {timeout_ms: 200, inputs_share: 0.1, inputs_exclude: [email]}
    """
)
"""`tier` is no raw input of any version: callers give it."""


def test_the_table_says_how_the_sla_wants_the_model_served() -> None:
    model = Model(name="ads", pool="default", sla=SERVED, watermark_ms=None, warm=None, created_at=0.0)
    table = derive(model, 1, None, {1: (("click", "buy"), PackageRef(digest="d", uri="file:///d"))}, epoch=1)
    assert table.heads == {"click": HeadPolicy(budget_ms=1.5, fallback="last_known_good")}
    assert (table.serving.timeout_ms, table.serving.inputs_share, table.serving.inputs_exclude) == (
        200,
        0.1,
        ("email",),
    )
    assert table.slices == ("tier",)


def test_another_sla_is_another_epoch(world: Any, make: Any) -> None:
    with world.db.write() as session:
        before = session.scalars(select(Route)).one().epoch
        serving = make.SLA.serving.model_copy(update={"timeout_ms": 77})
        publish(
            session, put_model(session, make.SLA.model_copy(update={"serving": serving}), "default", 0.0), world.uri
        )
        route = session.scalars(select(Route)).one()
        assert (route.epoch, route.body.serving.timeout_ms) == (before + 1, 77)


def test_in_the_bake_the_old_stable_stays_warm_at_the_front_doors(make: Any) -> None:
    model = Model(name="ads", pool="default", sla=make.SLA, watermark_ms=None, warm=1, created_at=0.0)
    packages = {n: (("click",), PackageRef(digest=f"digest-{n}", uri=f"file:///{n}")) for n in (1, 2)}
    table = derive(model, 2, make.rollout(Phase.BAKE), packages, epoch=9)
    assert (table.candidate, table.canary_bp) == ({"click": 1}, 0)
    assert table.needed("front") == {1, 2}


def report(role: Any, **fields: Any) -> ReplicaReport:
    return ReplicaReport(replica=f"{role}-1", role=role, **fields)


HELD = {"loaded": ("digest-2",)}
FETCHED = {"fetched": ("digest-2",)}


@pytest.mark.parametrize(
    ("front", "candidate", "shadow", "missing"),
    [
        (FETCHED, HELD, HELD, ""),
        (HELD, HELD, HELD, ""),
        ({}, HELD, HELD, "front-1"),
        (FETCHED, FETCHED, HELD, "candidate-1"),
        (FETCHED, HELD, FETCHED, "shadow-1"),
    ],
)
def test_shadow_begins_when_each_role_holds_what_it_needs(
    make: Any, front: Any, candidate: Any, shadow: Any, missing: str
) -> None:
    replicas = (report("front", **front), report("candidate", **candidate), report("shadow", **shadow))
    rollout, facts = make.rollout(Phase.LOADING), make.facts(replicas=replicas)
    said = waits_for(rollout, facts, make.NOW)
    assert said == (f"version 2 to be loaded by {missing}" if missing else "")
    after, _ = decide(rollout, facts, make.NOW)
    assert after.phase is (Phase.LOADING if missing else Phase.SHADOW)


@pytest.mark.parametrize("phase", [Phase.CANARY, Phase.RAMP])
def test_no_step_is_taken_while_a_front_door_cannot_load_the_candidate(make: Any, phase: Phase) -> None:
    failed = report("front", failed={"digest-2": "it needs 9 GB"}, **FETCHED)
    facts = make.facts(replicas=(failed, report("candidate", **HELD), report("shadow", **HELD)))
    after, _ = decide(make.rollout(phase), facts, make.NOW)
    assert after.phase is phase
    assert waits_for(after, facts, make.NOW) == "version 2 to be loaded by front-1 (it needs 9 GB)"
    after, _ = decide(make.rollout(phase), make.facts(), make.NOW)
    assert after.phase is not phase or after.step == 2
