"""Jobs: who may have them, for how long, and that a result is kept once. On SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import select

from controller import jobs
from controller.job_params import filled
from controller.tables import JobRow
from serinus.errors import BadInput, IllegalMove, InvalidSla, NotFound, Overloaded
from serinus.jobs import JOB_LEASE_S, PARAMS_BYTES, RESULT_BYTES, Job, JobReport


@pytest.fixture
def desk(world: Any) -> Any:
    """The calls of the API and of the exchange, each in a transaction of its own, at the world's time."""

    class Desk:
        def ask(self, kind: str = "plan", **params: Any) -> str:
            world.now += 0.001  # jobs are handed out in the order of their time
            with world.db.write() as session:
                return jobs.queue(session, kind, "ads", params, actor="ann", now=world.now)  # type: ignore[arg-type]

        def exchange(self, monitor: str, *reports: JobReport, free: bool = True) -> tuple[Job, ...]:
            with world.db.write() as session:
                jobs.take_in(session, monitor, reports, world.now)
                return jobs.hand_out(session, monitor, free=free, now=world.now)

        def cancel(self, job: str) -> None:
            with world.db.write() as session:
                jobs.cancel(session, job, actor="ann", now=world.now)

        def get(self, job: str) -> Job:
            with world.db.read() as session:
                return jobs.as_job(jobs.job_row(session, job))

        def later(self, seconds: float) -> None:
            world.now += seconds

    return Desk()


def done(job: str, **result: Any) -> JobReport:
    return JobReport(id=job, state="done", progress=1.0, result=result)


def ids(found: tuple[Job, ...]) -> list[str]:
    return [job.id for job in found]


def test_the_oldest_job_goes_to_the_monitor_that_is_free_and_to_no_other(desk: Any) -> None:
    first, second = desk.ask(), desk.ask(weeks=4)
    assert desk.exchange("m1", free=False) == ()
    assert ids(desk.exchange("m1")) == [first]
    assert ids(desk.exchange("m1")) == [first]  # one at a time
    assert ids(desk.exchange("m2")) == [second]
    assert desk.exchange("m3") == ()
    job = desk.get(second)
    assert (job.state, job.worker, job.params, job.actor) == ("running", "m2", {"weeks": 4}, "ann")


def test_a_result_comes_from_the_holder_alone_and_is_kept_once(desk: Any) -> None:
    job = desk.ask()
    desk.exchange("m1")
    desk.exchange("m2", done(job, of="a stranger"))
    assert desk.get(job).state == "running"
    desk.exchange("m1", JobReport(id=job, progress=0.5, said="half"))
    assert (desk.get(job).progress, desk.get(job).said) == (0.5, "half")
    assert desk.exchange("m1", done(job, answer=42)) == ()
    desk.exchange("m1", done(job, answer=43), JobReport(id=job, state="failed", said="too late"))
    kept = desk.get(job)
    assert (kept.state, kept.result, kept.progress, kept.worker) == ("done", {"answer": 42}, 1.0, "m1")


def test_a_monitor_that_dies_loses_its_job_to_the_next_when_the_lease_lapses(desk: Any) -> None:
    job = desk.ask()
    desk.exchange("m1")
    desk.later(JOB_LEASE_S - 1)
    assert desk.exchange("m2") == ()
    assert ids(desk.exchange("m1", free=False)) == [job]  # each exchange renews
    desk.later(JOB_LEASE_S - 1)
    assert desk.exchange("m2") == ()
    desk.later(2)
    assert ids(desk.exchange("m2")) == [job]
    assert desk.exchange("m1", done(job, of="the dead one")) == ()
    assert desk.get(job).worker == "m2"
    desk.exchange("m2", done(job, of="the living one"))
    assert desk.get(job).result == {"of": "the living one"}


def test_a_holder_whose_lease_lapsed_but_that_nobody_followed_keeps_its_job(desk: Any) -> None:
    job = desk.ask()
    desk.exchange("m1")
    desk.later(10 * JOB_LEASE_S)
    assert ids(desk.exchange("m1", JobReport(id=job, progress=0.1))) == [job]
    assert desk.exchange("m2") == ()


def test_a_job_that_ends_every_monitor_fails_but_not_one_that_gets_further(desk: Any) -> None:
    job = desk.ask()
    for loss in range(jobs.MOST_LOSSES):
        assert ids(desk.exchange(f"m{loss}")) == [job]
        desk.later(JOB_LEASE_S + 1)
    assert desk.exchange("m9") == ()
    assert desk.get(job).state == "failed"
    assert "monitors in a row" in desk.get(job).said
    job = desk.ask()
    for loss in range(2 * jobs.MOST_LOSSES):
        assert ids(desk.exchange(f"m{loss}")) == [job]
        desk.exchange(f"m{loss}", JobReport(id=job, progress=(loss + 1) / 100))
        desk.later(JOB_LEASE_S + 1)
    assert ids(desk.exchange("m0")) == [job]


def test_a_preflight_goes_first_and_a_backtest_makes_room_for_it(desk: Any) -> None:
    backtest, plan = desk.ask("backtest"), desk.ask("plan")
    assert ids(desk.exchange("m1")) == [plan]
    assert ids(desk.exchange("m2")) == [backtest]
    preflight = desk.ask("preflight")
    assert ids(desk.exchange("m2", free=False)) == [backtest]
    desk.later(jobs.PATIENCE_S + 1)
    assert ids(desk.exchange("m1", free=False)) == [plan]  # a plan takes seconds
    assert desk.exchange("m2", JobReport(id=backtest, progress=0.4), free=False) == ()
    assert (desk.get(backtest).state, desk.get(backtest).progress) == ("queued", 0.4)
    assert ids(desk.exchange("m2")) == [preflight]
    assert desk.exchange("m2", done(preflight)) != ()
    assert desk.get(backtest).worker == "m2"


def test_cancelled_jobs_leave_their_monitor_and_stay_cancelled(desk: Any) -> None:
    waiting, running = desk.ask(), None
    desk.cancel(waiting)
    assert desk.exchange("m1") == ()
    running = desk.ask()
    assert ids(desk.exchange("m1")) == [running]
    desk.cancel(running)
    desk.cancel(running)
    assert desk.exchange("m1", done(running, answer=1), free=False) == ()
    assert (desk.get(running).state, desk.get(running).result) == ("cancelled", None)
    ended = desk.ask()
    desk.exchange("m1")
    desk.exchange("m1", done(ended))
    with pytest.raises(IllegalMove, match="done already"):
        desk.cancel(ended)
    with pytest.raises(NotFound):
        desk.cancel("nothing")


def test_what_is_too_large_is_refused(desk: Any, world: Any) -> None:
    with pytest.raises(BadInput, match="parameters"):
        desk.ask(text="x" * PARAMS_BYTES)
    job = desk.ask()
    desk.exchange("m1")
    desk.exchange("m1", done(job, text="x" * RESULT_BYTES))
    assert (desk.get(job).state, desk.get(job).result) == ("failed", None)
    for _ in range(jobs.MOST_OPEN):
        desk.ask()
    with pytest.raises(Overloaded):
        desk.ask()


def test_old_jobs_are_forgotten_and_open_ones_are_not(desk: Any, world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "KEPT", 3)
    other = desk.ask("backtest")
    desk.cancel(other)
    made = [desk.ask() for _ in range(6)]
    for job in made[:5]:
        desk.later(1)
        desk.cancel(job)
    with world.db.read() as session:
        left = set(session.scalars(select(JobRow.id)))
    assert left == {other, *made[2:]}


def test_two_monitors_that_ask_at_the_same_time_get_different_jobs(desk: Any) -> None:
    made = [desk.ask() for _ in range(8)]
    found: list[str] = []
    barrier = threading.Barrier(8)

    def take(name: str) -> None:
        barrier.wait(timeout=20)
        found.extend(ids(desk.exchange(name)))

    threads = [threading.Thread(target=take, args=(f"m{at}",)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(found) == sorted(made)


def test_the_same_id_is_the_same_job(desk: Any, world: Any) -> None:
    with world.db.write() as session:
        for params in ({"first": True}, {"first": False}):
            made = jobs.queue(session, "preflight", "ads", params, actor="c", now=world.now, job_id="preflight-r1")
    assert made == "preflight-r1"
    assert desk.get(made).params == {"first": True}


def test_the_controller_fills_in_what_a_monitor_cannot_know(world: Any) -> None:
    rollout = world.start()
    with world.db.write() as session:
        told = filled(session, "plan", "ads", {"candidate": 3})
        assert (told["candidate"], told["stable"], told["sla"]["model"], told["rollouts"]) == (3, 1, "ads", [])
        assert filled(session, "recompute", "ads", {"rollout": rollout}) == {"rollout": rollout}
        with pytest.raises(InvalidSla, match="tasks"):
            filled(session, "backtest", "ads", {"sla": {"model": "ads"}})
        with pytest.raises(InvalidSla, match="other"):
            filled(session, "plan", "ads", {"sla": {**told["sla"], "model": "other"}})
        assert told["base_rates"] == {"click": 0.1}
        for model, params in (("none", {}), ("ads", {"candidate": 99}), ("ads", {"candidate": "3; drop table"})):
            with pytest.raises(NotFound):
                filled(session, "plan", model, params)
