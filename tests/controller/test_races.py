"""Two who do things to one model at once: who comes second decides by what the first has left."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from controller.auth import Caller
from controller.deletion import delete_model
from controller.jobs import hand_out, job_row, queue, take_in
from controller.routers import jobs, rollouts
from controller.rows import lock_model, model_of
from controller.services import Services
from controller.store import PackageStore
from controller.tables import RolloutRow
from controller.words import StartBody
from serinus.errors import AlreadyActive, IllegalMove, NotFound
from serinus.jobs import JobReport
from tests.controller.conftest import World
from tests.controller.served import until

ADMIN = Caller(name="ann", role="admin")


@pytest.fixture
def services(world: World, tmp_path: Path) -> Services:
    return Services(world.db, PackageStore(tmp_path / "packages"), clock=lambda: world.now)


def second(world: World, first: Callable[[Any], object], then: Callable[[], Any]) -> Future[Any]:
    """`then` is called while the transaction of `first` is open, and has come as far as it can when that commits."""
    with ThreadPoolExecutor(1) as pool, world.db.write() as session:
        first(session)
        session.flush()
        future = pool.submit(then)
        if not world.db.sqlite:  # there it has not even begun
            until(lambda: _somebody_waits(world), "the second to wait for the first")
    return future


def _somebody_waits(world: World) -> bool:
    waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    with world.db.read() as session:
        return bool(session.scalar(text(waits)))


def test_no_rollout_begins_of_a_model_that_was_deleted_meanwhile(world: World, services: Services) -> None:
    body = StartBody(version=2, plan=world.hasty, reason="the test")
    future = second(
        world,
        lambda session: delete_model(session, "ads", retire=True, reason="", actor="bob", now=world.now),
        lambda: rollouts.begin("ads", body, services, ADMIN),
    )
    with pytest.raises(NotFound):
        future.result()
    with world.db.read() as session:
        assert session.scalars(select(RolloutRow)).all() == []


def test_of_two_rollouts_that_begin_at_once_one_does(world: World, services: Services) -> None:
    def begin(version: int) -> str:
        body = StartBody(version=version, plan=world.hasty, reason="the test")
        try:
            return rollouts.begin("ads", body, services, ADMIN).phase
        except AlreadyActive:
            return "refused"

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(begin, (2, 3, 2, 3, 2, 3))) == ["pending", *["refused"] * 5]


def test_a_job_that_was_done_meanwhile_is_not_cancelled(world: World, services: Services) -> None:
    with world.db.write() as session:
        job = queue(session, "plan", "ads", {}, actor="ann", now=world.now)
        hand_out(session, "m1", free=True, now=world.now)
    report = JobReport(id=job, state="done", progress=1.0, result={"days": 3})
    future = second(
        world,
        lambda session: take_in(session, "m1", [report], world.now),
        lambda: jobs.stop(job, services, ADMIN),
    )
    with pytest.raises(IllegalMove):
        future.result()
    with world.db.read() as session:
        assert (job_row(session, job).state, job_row(session, job).result) == ("done", {"days": 3})


def test_what_was_read_before_the_lock_is_read_again(world: World) -> None:
    def decide() -> str:
        with world.db.write() as session:
            known = model_of(session, "ads") if not world.db.sqlite else None  # held, so it stays in the session
            locked = lock_model(session, "ads")
            assert known in (None, locked)
            return locked.pool

    assert second(world, lambda session: setattr(lock_model(session, "ads"), "pool", "b"), decide).result() == "b"
