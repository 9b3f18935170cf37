"""A database that is gone, read-only, full, or of another schema: it is said, nothing is half-made, and all goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import event, func, select, text
from sqlalchemy.exc import DBAPIError

from controller.database import Database
from controller.faults import State
from controller.reconciler import Reconciler
from controller.rows import rollout_row
from controller.tables import AliasMove, AuditRow, EvidenceRow, LookRow, RolloutRow, Route
from serinus.rollouts import Phase


def until(condition: Callable[[], Any], what: str, timeout_s: float = 30.0) -> Any:
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {timeout_s} s for {what}"
        time.sleep(0.02)
    return found


@pytest.fixture
def running(world: Any) -> Iterator[Reconciler]:
    """A reconciler whose thread runs."""
    reconciler = world.reconciler()
    reconciler.start()
    yield reconciler
    reconciler.stop()


def phase(world: Any, rollout: str) -> str:
    with world.db.read() as session:
        return str(rollout_row(session, rollout).phase)


def whole(world: Any) -> tuple[Any, ...]:
    """What a transition writes, all of it."""
    with world.db.read() as session:
        rows = [(row.phase, len(row.history), row.canary_bp) for row in session.scalars(select(RolloutRow))]
        epochs = [(row.epoch, row.body.epoch, row.body.canary_bp) for row in session.scalars(select(Route))]
        counts = [session.scalar(select(func.count()).select_from(t)) for t in (AliasMove, AuditRow)]
        return rows, epochs, counts


def look(world: Any, rollout: str, verdict: str, at_ms: int) -> None:
    """As a monitor brings it, again until it is taken."""

    def taken() -> bool:
        try:
            world.look(rollout, verdict, at_ms)
        except DBAPIError:
            return False
        return True

    until(taken, "the look to be taken")


@pytest.mark.parametrize(("revision", "word"), [("0010", "behind"), ("0099", "ahead")])
def test_nothing_is_done_to_a_schema_of_another_release(
    world: Any, running: Reconciler, make: Any, revision: str, word: str
) -> None:
    rollout = world.start()
    world.replicas(1, 2)
    until(lambda: phase(world, rollout) == "shadow", "shadow")
    with world.db.write() as session:
        head = session.scalar(text("select version_num from alembic_version"))
        session.execute(text("update alembic_version set version_num = :to"), {"to": revision})
    state = world.db.state()
    assert (state.word, state.ok) == (word, False)
    assert revision in state.said
    assert head in state.said
    until(lambda: not running.active, "the reconciler to stand still")
    before = whole(world)
    world.look(rollout, "violated", make.T0 + make.DAY_MS)
    running.nudge("ads")
    running.nudge("")
    turns = running.turns
    until(lambda: running.turns >= turns + 3, "three rounds")
    assert whole(world) == before
    with world.db.write() as session:
        session.execute(text("update alembic_version set version_num = :to"), {"to": head})
    until(lambda: phase(world, rollout) == "rolled_back", "the rollback")
    assert world.db.state() == State("ok")


def test_an_empty_database_is_behind(database_url: str) -> None:
    db = Database(database_url)
    with db.engine.connect():
        assert db.state().word == "behind"
    db.close()


def test_a_full_disk_leaves_nothing_half_made_and_is_over_when_there_is_room(world: Any, make: Any) -> None:
    if not world.db.sqlite:
        pytest.skip("SQLite can be given a smallest disk")
    limit: list[int] = [0]

    @event.listens_for(world.db.engine, "checkout")
    def bound(connection: Any, _record: Any, _proxy: Any) -> None:
        connection.execute(f"pragma max_page_count = {limit[0] or 2**30}")

    rollout = world.start()
    world.replicas(1, 2)
    reconciler = world.reconciler()
    reconciler.start()
    try:
        until(lambda: phase(world, rollout) == "shadow", "shadow")
        with world.db.read() as session:
            limit[0] = session.execute(text("pragma page_count")).scalar_one()
        note = {"note": "x" * 200_000}

        def write() -> None:
            with world.db.write() as session:
                row = session.scalars(select(RolloutRow)).one()
                row.phase, row.canary_bp = Phase.CANARY, 5_000
                session.flush()
                session.add(AuditRow(number=10**6, at=0.0, actor="a", action="a.b", subject="s", detail=note, seal="0"))

        with pytest.raises(DBAPIError, match="full"):
            write()
        assert world.db.state().word == "full"
        assert phase(world, rollout) == "shadow"
        limit[0] = 0
        look(world, rollout, "violated", make.T0 + make.DAY_MS)
        until(lambda: phase(world, rollout) == "rolled_back", "the rollback")
        assert world.db.state().ok
    finally:
        reconciler.stop()


def test_a_file_that_cannot_be_written_is_said_so(world: Any) -> None:
    if not world.db.sqlite:
        pytest.skip("PostgreSQL is in the other tests")
    rollout = world.start()
    readonly = Database(f"sqlite:///file:{world.db.engine.url.database}?mode=ro&uri=true")

    def write() -> None:
        with readonly.write() as session:
            rollout_row(session, rollout).reason = "another"

    with pytest.raises(DBAPIError):
        write()
    assert readonly.state().word == "read_only"
    readonly.close()
    gone = Database(f"sqlite:///{world.db.engine.url.database}.none")
    assert gone.state().word == "gone"
    gone.close()


def test_a_fault_of_one_rollout_is_not_one_of_the_others(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rollout = world.start()

    def broken(*_: Any, **__: Any) -> bool:
        raise ZeroDivisionError

    reconciler = world.reconciler()
    monkeypatch.setattr("controller.reconciler.advance", broken)
    assert reconciler.round() == 0
    monkeypatch.undo()
    assert reconciler.round() > 0
    assert phase(world, rollout) != "pending"


def test_postgres_gone_read_only_and_back(own_postgres: Any, world_of: Any, make: Any) -> None:
    """Stopped and started again, and set to read-only: the thread lives, nothing is half-made, all goes on."""
    world = world_of(own_postgres.url)
    reconciler = world.reconciler()
    reconciler.start()
    try:
        rollout = world.start()
        world.replicas(1, 2)
        until(lambda: phase(world, rollout) == "shadow", "shadow")
        before = whole(world)

        own_postgres.stop()
        assert world.db.state().word == "gone"
        until(lambda: not reconciler.active, "the reconciler to notice")
        own_postgres.start()
        until(lambda: world.db.state().ok, "the database to be back")
        assert whole(world) == before

        own_postgres.execute("alter system set default_transaction_read_only = on", "select pg_reload_conf()")
        until(lambda: world.db.state().word == "read_only", "read only")
        with pytest.raises(DBAPIError):
            world.look(rollout, "violated", make.T0 + make.DAY_MS)
        with world.db.read() as session:
            assert [session.scalar(select(func.count()).select_from(t)) for t in (EvidenceRow, LookRow)] == [0, 0]
        off = "set default_transaction_read_only = off; alter system reset default_transaction_read_only"
        own_postgres.execute(off, "select pg_reload_conf()")
        look(world, rollout, "violated", make.T0 + make.DAY_MS)
        until(lambda: phase(world, rollout) == "rolled_back", "the rollback")
        assert world.db.state().ok
        assert reconciler.alive
    finally:
        reconciler.stop()
