"""Long polls: a change wakes those of its pool alone, also at another controller; replicas that are restored from."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from sqlalchemy import select
from sqlalchemy.exc import TimeoutError as TimeoutPool

from controller.__main__ import main
from controller.advance import promote_now
from controller.api import create_app
from controller.bell import Bell
from controller.database import Database, wakes
from controller.presence import Presence
from controller.registry import add_version, put_model
from controller.rollouts import Ask
from controller.rows import live_replicas
from controller.safekeeping import JUMP, backup, restored
from controller.services import Services
from controller.store import PackageStore
from controller.tables import AuditRow, Lease, Replica, Route
from serinus.errors import BadInput
from serinus.routes import ReplicaReport, WatchRequest

MODELS = {"ads": "red", "feed": "blue"}


def until(condition: Callable[[], Any], what: str, timeout_s: float = 20.0) -> Any:
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {timeout_s} s for {what}"
        time.sleep(0.01)
    return found


class Running:
    """A controller that serves real HTTP from a thread."""

    def __init__(self, url: str, folder: Path) -> None:
        self.db = Database(url)
        self.db.migrate()
        self.services = Services(self.db, PackageStore(str(folder / "packages"), folder / "incoming"))
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        config = uvicorn.Config(create_app(self.services), log_config=None, lifespan="on", timeout_graceful_shutdown=2)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]})
        self.thread.start()
        until(lambda: self.server.started, "the server")
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.socket.getsockname()[1]}", timeout=60)

    def watch(self, pool: str, known: dict[str, int], wait_s: float = 40, replica: str = "r1") -> Any:
        body = {"report": {"replica": replica, "role": "front"}, "known": known, "wait_s": wait_s}
        return self.http.post(f"/v1/pools/{pool}/watch", json=body).raise_for_status().json()

    def waiting(self, pool: str) -> int:
        return len(self.services.bell._waiting.get(pool, ()))

    def close(self) -> None:
        self.http.close()
        self.services.bell._loop.call_soon_threadsafe(self.services.bell.close)  # type: ignore[union-attr]
        self.server.should_exit = True
        self.thread.join(20)
        self.db.close()


@pytest.fixture
def run(database_url: str, tmp_path: Path) -> Iterator[Callable[[], Running]]:
    """run() starts another controller on the same database."""
    started: list[Running] = []

    def start() -> Running:
        started.append(Running(database_url, tmp_path / f"{len(started)}"))
        return started[-1]

    yield start
    for each in started:
        each.close()


def populate(db: Database, make: Any) -> None:
    """Each model in a pool of its own, version 1 stable, 2 pushed."""
    for name, pool in MODELS.items():
        with db.write() as session:
            put_model(session, make.SLA.model_copy(update={"model": name}), pool, 0.0)
            for number in (1, 2):
                add_version(session, name, f"{name}-{number}", make.manifest("click", note=str(number)), 0.0)
        promote(db, name, 1)


def promote(db: Database, name: str, version: int) -> None:
    ask = Ask("promote", "the test", "ann")
    with db.write() as session:
        promote_now(session, name, version, lambda digest: f"file:///{digest}", ask=ask, initial=False, now=1.0)


def test_a_change_wakes_only_its_pool_also_at_another_controller(run: Any, make: Any) -> None:
    first = run()
    other = first if first.db.sqlite else run()
    populate(first.db, make)
    if not first.db.sqlite:
        until(lambda: not other.services.listening.deaf, "it to listen")
    assert other.watch("red", {})["tables"][0]["epoch"] == 1
    with ThreadPoolExecutor(4) as pool:
        polls: list[Future[Any]] = [
            pool.submit(other.watch, colour, {name: 1}, replica=f"r{at}")
            for at in range(2)
            for name, colour in MODELS.items()
        ]
        until(lambda: other.waiting("red") == other.waiting("blue") == 2, "the polls to wait")
        woken = other.services.bell.woken
        promote(first.db, "ads", 2)
        done = [poll for poll in polls if polls.index(poll) % 2 == 0]
        for poll in done:
            (table,) = poll.result(timeout=20)["tables"]
            assert (table["model"], table["epoch"], table["stable"]) == ("ads", 2, {"click": 2})
        assert other.services.bell.woken == woken + 2
        assert (other.waiting("red"), other.waiting("blue")) == (0, 2)
        promote(first.db, "feed", 2)
        assert all(poll.result(timeout=20)["tables"] for poll in polls)


def test_what_was_missed_while_the_connection_was_lost_is_made_up_for(
    own_postgres: Any, make: Any, tmp_path: Path
) -> None:
    first = Running(own_postgres.url.format("postgres"), tmp_path / "a")
    second = Running(own_postgres.url.format("postgres"), tmp_path / "b")
    try:
        populate(first.db, make)
        until(lambda: not second.services.listening.deaf, "it to listen")
        with ThreadPoolExecutor(1) as pool:
            poll = pool.submit(second.watch, "red", {"ads": 1})
            until(lambda: second.waiting("red"), "the poll to wait")
            own_postgres.stop()
            until(lambda: second.services.listening.deaf, "it to notice")
            assert second.http.get("/readyz").status_code == 503
            assert "gone" in second.http.get("/readyz").json()["detail"]
            assert second.http.get("/healthz").status_code == 200
            assert not poll.done()
            own_postgres.start()
            until(lambda: first.http.get("/readyz").status_code == 200, "it to be ready")
            promote(first.db, "ads", 2)
            assert poll.result(timeout=30)["tables"][0]["epoch"] == 2
        until(lambda: not second.services.listening.deaf, "it to listen again")
    finally:
        first.close()
        second.close()


def test_a_replica_that_knows_more_than_the_database_lifts_its_epochs(run: Any, make: Any) -> None:
    one = run()
    populate(one.db, make)
    found = one.watch("red", {"ads": 41})
    (table,) = found["tables"]
    assert (table["model"], table["epoch"], table["stable"]) == ("ads", 42, {"click": 1})
    assert one.watch("red", {"ads": 40}, wait_s=0)["tables"][0]["epoch"] == 42
    assert one.watch("red", {"ads": 42}, wait_s=0)["tables"] == []
    assert one.watch("red", {"ads": 2**60}, wait_s=0)["tables"][0]["epoch"] == 42
    assert one.watch("red", {"ads": 42, "feed": 9}, wait_s=0)["models"] == ["ads"]
    with one.db.read() as session:
        (entry,) = session.scalars(select(AuditRow).where(AuditRow.action == "route.lift"))
        assert (entry.subject, entry.detail["known"], entry.detail["was"], entry.detail["epoch"]) == (
            "models/ads", 41, 1, 42,
        )  # fmt: skip
        assert {row.model: row.epoch for row in session.scalars(select(Route))} == {"ads": 42, "feed": 1}


def test_a_backup_is_restored_by_command_and_replicas_take_its_tables(
    tmp_path: Path, make: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    db = Database(f"sqlite:///{tmp_path}/home/controller.db")
    db.migrate()
    populate(db, make)
    monkeypatch.setenv("SERINUS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SERINUS_DATABASE_URL", raising=False)

    def command(*words: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["controller", *words])
        code = main()
        told = capsys.readouterr()
        return code, told.out + told.err

    with db.write() as session:  # a transaction that is open does not get into the copy, and does not hinder it
        put_model(session, make.SLA.model_copy(update={"model": "late"}), "red", 0.0)
        session.flush()
        assert command("backup", str(tmp_path / "copies" / "b1"))[0] == 0
    assert (tmp_path / "copies" / "b1").stat().st_mode & 0o077 == 0
    promote(db, "ads", 2)
    with db.write() as session:
        session.add(Lease(name="reconciler", holder="somebody", expires_at=time.time() + 60))
    code, said = command("restore", str(tmp_path / "copies" / "b1"))
    assert (code, "stop it first" in said) == (1, True)
    with db.write() as session:
        session.execute(select(Lease)).scalar_one().expires_at = 0.0
    db.close()
    code, said = command("restore", str(tmp_path / "copies" / "b1"))
    assert (code, str(JUMP) in said) == (0, True), said
    with db.read() as session:
        routes = {row.model: (row.epoch, row.body.epoch, row.body.stable) for row in session.scalars(select(Route))}
        assert routes == dict.fromkeys(("ads", "feed"), (1 + JUMP, 1 + JUMP, {"click": 1}))
        assert session.scalars(select(AuditRow.action)).all()[-1] == "database.restored"
    (tmp_path / "copies" / "junk").write_text("no database at all, but long enough to look at" * 30)
    assert command("restore", str(tmp_path / "copies" / "junk"))[0] == 1
    assert [command(*words)[0] for words in (("backup", "/dev/null/x"), ("dance",), ("restore", "none"))] == [1, 1, 1]
    with db.read() as session:
        assert len(session.scalars(select(Route)).all()) == 2
    db.close()


def test_postgres_is_dumped_and_restored_with_its_own_tools(own_postgres: Any, world_of: Any) -> None:
    world = world_of(own_postgres.url)
    host, dump = own_postgres.home, f"{own_postgres.home}/copy"
    where = ("-h", host, "-U", "serinus", "-d", "postgres")
    own_postgres.run("pg_dump", *where, "--format=custom", "-f", dump)
    with world.db.write() as session:
        ask = Ask("promote", "the test", "ann")
        promote_now(session, "ads", 2, world.uri, ask=ask, initial=False, now=1.0)
    world.db.close()
    own_postgres.run("pg_restore", *where, "--clean", "--if-exists", "--single-transaction", dump)
    assert world.db.state().ok
    assert "1 models" in restored(world.db, world.now)
    with world.db.read() as session:
        row = session.scalars(select(Route)).one()
        assert (row.epoch, row.body.stable) == (1 + JUMP, {"click": 1})
    with pytest.raises(BadInput, match="PostgreSQL has tools"):
        backup(world.db, Path("/tmp/none"))


def said(number: int, wait_s: float = 25, **report: Any) -> WatchRequest:
    told = {"replica": "r1", "role": "front", "number": number, **report}
    return WatchRequest(report=ReplicaReport.model_validate(told), wait_s=wait_s)


def test_replicas_that_say_nothing_new_are_written_together_and_count_all_the_same(world: Any) -> None:
    presence = Presence(world.db, lambda: world.now)
    heard: list[str] = []
    world.db.listeners["facts"] = heard.append
    assert presence.note("p", said(1)) is None
    assert presence.record("p", said(1)) == world.now + 40
    assert len(heard) == 1
    world.now += 25
    until_then = presence.note("p", said(2, resident_bytes=7))
    assert until_then is not None
    assert until_then == world.now + 40
    presence.flush()
    with world.db.read() as session:
        row = session.scalars(select(Replica)).one()
        assert (row.number, row.resident_bytes, row.seen_at, row.expires_at) == (2, 7, world.now, until_then)
        assert len(live_replicas(session, "p", until_then - 1)) == 1
    assert len(heard) == 1
    assert presence.note("p", said(3, loaded=["d1"])) is None  # news: decisions may rest on it
    assert presence.note("p", said(1)) is None
    presence.record("p", said(3, loaded=["d1"]))
    presence.gone("p", "r1", until_then)
    presence.flush()
    with world.db.read() as session:
        assert live_replicas(session, "p", world.now) == ()
    assert presence.note("p", said(4, loaded=["d1"])) is None  # its end may have been written


def test_a_later_poll_counts_though_an_earlier_one_broke(world: Any) -> None:
    presence = Presence(world.db, lambda: world.now)
    first = presence.record("p", said(1))
    world.now += 10
    presence.note("p", said(2))
    presence.gone("p", "r1", first)
    presence.flush()
    with world.db.read() as session:
        assert len(live_replicas(session, "p", world.now + 39)) == 1


def test_what_could_not_be_written_is_written_later(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    presence = Presence(world.db, lambda: world.now)
    presence.record("p", said(1))
    world.now += 25
    presence.note("p", said(2))
    with monkeypatch.context() as patch:
        patch.setattr("controller.presence.renew", lambda *_: (_ for _ in ()).throw(TimeoutPool()))
        with pytest.raises(TimeoutPool):
            presence.flush()
    presence.flush()
    with world.db.read() as session:
        assert session.scalars(select(Replica.number)).one() == 2


def test_listeners_are_told_after_the_commit_and_never_of_what_was_rolled_back(database: Database) -> None:
    heard: list[str] = []
    database.listeners["facts"] = heard.append
    database.listeners["pool"] = lambda pool: heard.append(f"pool {pool}")
    with database.write() as session:
        wakes(session, "facts:ads", "pool:red", "something-newer:x")
        assert heard == []
    assert sorted(heard) == ["ads", "pool red"]

    def broken() -> None:
        with database.write() as session:
            wakes(session, "facts:ads")
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert len(heard) == 2
    with database.write() as session:
        wakes(session, *(f"facts:{'m' * 60}{at}" for at in range(300)))  # more than a notification holds


def test_the_bell_wakes_by_key_and_forgets_who_left() -> None:
    async def listen() -> None:
        bell = Bell()
        bell.hang()
        red, blue, anything = bell.hear("red"), bell.hear("blue"), bell.hear()
        bell.ring("red")
        await asyncio.sleep(0)
        assert (red.done(), blue.done(), anything.done()) == (True, False, True)
        assert (bell.count("red"), bell.count("blue"), bell.rung) == (1, 0, 1)
        bell.ring()
        await asyncio.sleep(0)
        assert blue.done()
        assert (bell.count("red"), bell.count("blue"), bell.rung) == (2, 1, 2)
        assert await bell.wait(1, 5, "red")
        assert not await bell.wait(bell.count("red"), 0.01, "red")
        assert bell._waiting == {}

    asyncio.run(listen())
