"""The preflight in the database: its job, its evidence, its end; and once with real logs and the real runner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from controller.advance import advance, promote_now, start
from controller.database import Database
from controller.exchange import keep, work
from controller.jobs import hand_out, job_row, take_in
from controller.reconciler import Reconciler
from controller.registry import add_version, point, put_model
from controller.replicas import record
from controller.rollouts import Ask
from controller.rows import as_rollout, latest_evidence, rollout_row
from controller.tables import EvidenceRow, JobRow, Model
from monitors.replay import run
from serinus.evidence import METHOD, MonitorReport, Watched
from serinus.jobs import JobReport
from serinus.preflights import PreflightParams, PreflightResult
from serinus.rollouts import Phase, Plan, Preflight
from serinus.routes import PackageRef, ReplicaReport, WatchRequest
from tests.monitors import past_traffic as traffic

PLAN = Plan(preflight=Preflight(deadline_s=600, alpha_share=0.2), shadow_hold_s=3600)


@pytest.fixture
def waiting(world: Any, make: Any) -> str:
    """A rollout in its preflight; its watermark is T0."""
    rollout: str = world.start(plan=PLAN)
    world.replicas(1, 2)
    with world.db.write() as session:
        keep(session, MonitorReport(monitor="m1", watermarks_ms={"ads": make.T0}), world.now)
    settle(world, rollout)
    return rollout


def settle(world: Any, rollout: str) -> None:
    """The rollout goes as far as the facts allow."""
    while advance(world.db, rollout, world.uri, world.now):
        pass


def seen(world: Any, rollout: str) -> Any:
    with world.db.read() as session:
        return as_rollout(rollout_row(session, rollout))


def ends(world: Any, rollout: str, state: str, result: PreflightResult | None = None) -> None:
    """The monitor takes the job and says how it ended."""
    with world.db.write() as session:
        (job,) = hand_out(session, "m1", free=True, now=world.now)
        body = result and result.model_dump(mode="json")
        report = JobReport.model_validate({"id": job.id, "state": state, "said": "told", "result": body})
        take_in(session, "m1", (report,), world.now)


def finds(make: Any, rollout: str, verdict: str) -> PreflightResult:
    found = make.preflight("done", verdict)["replay"]
    ours = found.evidence.model_copy(update={"rollout": rollout})
    return PreflightResult.model_validate(found.model_copy(update={"evidence": ours}).model_dump())


def test_the_job_is_queued_once_with_all_that_a_monitor_must_know(world: Any, make: Any, waiting: str) -> None:
    for _ in range(3):
        settle(world, waiting)
    with world.db.read() as session:
        (job,) = session.scalars(select(JobRow))
        params = PreflightParams.model_validate(job.params)
        assert work(session, world.uri).rollouts == (), "there is nothing live to look at yet"
    item = params.item
    assert item.alpha == pytest.approx(0.01)
    assert (item.rollout, params.until_ms) == (waiting, make.T0)
    assert {number: ref.uri for number, ref in item.packages.items()} == {
        1: "file:///packages/digest-1",
        2: "file:///packages/digest-2",
    }
    assert seen(world, waiting).phase is Phase.PREFLIGHT


def test_a_rejection_rolls_back_before_anybody_saw_it_and_is_kept(world: Any, make: Any, waiting: str) -> None:
    ends(world, waiting, "done", finds(make, waiting, "violated"))
    settle(world, waiting)
    rollout = seen(world, waiting)
    assert rollout.phase is Phase.ROLLED_BACK
    with world.db.read() as session:
        (row,) = session.scalars(select(EvidenceRow))
        assert (row.stream, row.monitor, row.body.digest) == ("replay", "m1", rollout.history[-1].evidence)


def test_a_pass_leads_on_and_its_evidence_is_not_that_of_the_shadow(world: Any, make: Any, waiting: str) -> None:
    ends(world, waiting, "done", finds(make, waiting, "satisfied"))
    settle(world, waiting)
    assert (rollout := seen(world, waiting)).phase is Phase.SHADOW
    assert rollout.started_event_ms == make.T0
    with world.db.read() as session:
        assert latest_evidence(session, waiting) is None
        assert latest_evidence(session, waiting, "replay") is not None
        (item,) = work(session, world.uri).rollouts
    assert item.alpha == pytest.approx(0.04)
    assert (item.last_tick_ms, item.method) == (None, METHOD)
    assert item.packages.keys() == {1, 2}


def test_a_result_of_another_rollout_is_none(world: Any, make: Any, waiting: str) -> None:
    ends(world, waiting, "done", finds(make, "another", "violated"))
    settle(world, waiting)
    assert seen(world, waiting).phase is Phase.SHADOW


@pytest.mark.parametrize("command", ["abort", "rollback", "promote", "approve"])
def test_a_job_that_nobody_waits_for_is_cancelled(world: Any, waiting: str, command: Any) -> None:
    advance(world.db, waiting, world.uri, world.now, ask=Ask(command, "because", "ann"))
    with world.db.read() as session:
        assert session.scalars(select(JobRow.state)).one() == "cancelled"


def test_a_pause_leaves_it_at_work_and_another_promotion_ends_it(world: Any, waiting: str) -> None:
    advance(world.db, waiting, world.uri, world.now, ask=Ask("pause", "", "ann"))
    with world.db.read() as session:
        assert session.scalars(select(JobRow.state)).one() == "queued"
    with world.db.write() as session:
        promote_now(session, "ads", 3, world.uri, ask=Ask("promote", "now", "ann"), initial=False, now=world.now)
    with world.db.read() as session:
        assert session.scalars(select(JobRow.state)).one() == "cancelled"


def test_a_rollout_goes_on_when_its_preflight_is_late(world: Any, waiting: str) -> None:
    world.now += 601
    world.replicas(1, 2)
    settle(world, waiting)
    assert seen(world, waiting).phase is Phase.SHADOW
    with world.db.read() as session:
        assert session.scalars(select(JobRow.state)).one() == "cancelled"


def test_a_plan_without_shadow_says_so_to_the_monitor_whatever_the_sla_says(world: Any, make: Any) -> None:
    world.start(plan=Plan(shadow_bp=0))
    world.replicas(1, 2)
    with world.db.write() as session:
        keep(session, MonitorReport(monitor="m1", watermarks_ms={"ads": make.T0}), world.now)
    world.reconciler().round()
    with world.db.read() as session:
        told = work(session, world.uri)
    assert told.rollouts[0].shadow is False
    package = PackageRef(digest="digest-1", uri="file:///packages/digest-1")
    assert told.watched == (Watched(model="ads", sla=make.SLA, stable=1, package=package),)


def test_evidence_of_another_method_is_of_no_use(world: Any, make: Any) -> None:
    rollout = world.start()
    world.look(rollout, "violated", make.T0, method="1")
    with world.db.read() as session:
        assert latest_evidence(session, rollout) is None
        assert session.scalars(select(Model.watermark_ms)).one() == make.T0


@pytest.mark.parametrize(("graph", "phase"), [("broken", Phase.ROLLED_BACK), ("twin", Phase.SHADOW)])
def test_from_logged_requests_to_the_decision(tmp_path: Path, make: Any, graph: str, phase: Phase) -> None:
    traffic.write(tmp_path / "log", traffic.traffic(requests=6_000))
    refs = [traffic.package(tmp_path / f"v{number}", name) for number, name in ((1, "good"), (2, graph))]
    uris = {ref.digest: ref.uri for ref in refs}
    db = Database(f"sqlite:///{tmp_path / 'controller.db'}")
    db.migrate()
    plan = Plan(preflight=Preflight(window_s=traffic.MATURE_DAYS * 86_400))
    with db.write() as session:
        put_model(session, traffic.SLA, "default", make.NOW)
        for number, ref in enumerate(refs, 1):
            add_version(session, "ads", ref.digest, make.manifest("click", "stay", note=str(number)), make.NOW)
        point(session, "ads", "stable", 1, why="", actor="test", now=make.NOW, rollout=None)
        rollout = start(session, "ads", 2, plan, why="", actor="test", now=make.NOW).id
        for role in ("front", "candidate", "shadow"):
            report = ReplicaReport.model_validate(
                {"replica": f"{role}-1", "role": role, "loaded": [ref.digest for ref in refs]}
            )
            record(session, "default", WatchRequest(report=report, wait_s=60.0), make.NOW)
        keep(session, MonitorReport(monitor="m1", watermarks_ms={"ads": traffic.UNTIL_MS}), make.NOW)
    reconciler = Reconciler(db, uris.__getitem__, lambda: make.NOW, lambda _pool: None)
    reconciler.round()
    with db.write() as session:
        (job,) = hand_out(session, "m1", free=True, now=make.NOW)
    result = run(job, tmp_path / "log", tmp_path / "state", lambda _done, _said: None)
    with db.write() as session:
        take_in(session, "m1", (JobReport(id=job.id, state="done", result=result),), make.NOW)
    reconciler.round()
    with db.read() as session:
        after = as_rollout(rollout_row(session, rollout))
        assert job_row(session, job.id).state == "done"
    db.close()
    assert after.phase is phase
    assert "of 6,000 requests" in after.history[-1].why
