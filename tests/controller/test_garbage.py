"""Garbage is what nobody names; whoever pushes, deletes and collects at the same time, nothing that is named goes."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import select

from controller import uploads
from controller.database import Database
from controller.garbage import collect
from controller.holds import HOLD_S, REMOVAL_S, begin_removal, confirm, end_removal, hold
from controller.registry import add_version, put_model
from controller.store import PackageStore
from controller.sweeping import Sweeping
from controller.tables import AuditRow, Version
from serinus.errors import Stale
from serinus.sla import Sla
from tests.controller.conftest import SLA, manifest_of

DIGESTS = [f"{n:064x}" for n in range(2)]


class Shelves:
    """A shelf that only says what is on it."""

    def __init__(self) -> None:
        self.kept: set[str] = set()

    def digests(self) -> set[str]:
        return set(self.kept)

    def remove(self, digest: str) -> None:
        self.kept.discard(digest)


class Registry(RuleBasedStateMachine):
    """Pushes and collections of garbage, cut into their steps, which come in any order; and time goes by.

    A process may be killed between any two steps: then its next one never comes."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path("/tmp") / f"garbage-{uuid.uuid4().hex}.db"
        self.db = Database(f"sqlite:///{self.folder}")
        self.db.migrate()
        with self.db.write() as session:
            put_model(session, SLA, "default", 0.0)
        self.now, self.shelf = 1e9, Shelves()
        self.pushing: list[list[Any]] = []
        self.removing: list[tuple[str, float]] = []

    @rule(seconds=st.sampled_from([1.0, REMOVAL_S + 1, HOLD_S + 1]))
    def time(self, seconds: float) -> None:
        self.now += seconds
        # whoever removes files needs far less than REMOVAL_S for one package, or is dead
        self.removing = [(d, began) for d, began in self.removing if self.now - began < REMOVAL_S]

    @rule(digest=st.sampled_from(DIGESTS), stores=st.booleans())
    def push_holds(self, digest: str, stores: bool) -> None:
        try:
            with self.db.write() as session:
                hold(session, digest, self.now)
        except Stale:
            return
        self.pushing.append([digest, stores])
        if stores:
            self.shelf.kept.add(digest)

    @rule()
    def push_stores(self) -> None:
        for push in self.pushing:
            if not push[1]:
                push[1] = True
                self.shelf.kept.add(push[0])
                return

    @rule(which=st.integers(0, 5))
    def push_names(self, which: int) -> None:
        ready = [push for push in self.pushing if push[1]]
        if not ready:
            return
        push = ready[which % len(ready)]
        self.pushing.remove(push)
        try:
            with self.db.write() as session:
                confirm(session, push[0])
                add_version(session, "ads", push[0], manifest_of("click"), self.now)
        except Stale:
            return

    @rule(digest=st.sampled_from(DIGESTS))
    def delete(self, digest: str) -> None:
        with self.db.write() as session:
            for row in session.scalars(select(Version).where(Version.digest == digest)):
                row.deleted_at = self.now

    @rule(digest=st.sampled_from(DIGESTS), at_once=st.booleans())
    def removal_begins(self, digest: str, at_once: bool) -> None:
        with self.db.write() as session:
            if begin_removal(session, digest, self.now):
                return
        self.removing.append((digest, self.now))
        if at_once:
            self.shelf.remove(digest)

    @rule(ends=st.booleans())
    def removal_goes_on(self, ends: bool) -> None:
        for digest, began in self.removing:
            self.shelf.remove(digest)
            if ends:
                with self.db.write() as session:
                    end_removal(session, digest, began)
        self.removing = [] if ends else self.removing

    @invariant()
    def what_is_named_is_there(self) -> None:
        if not hasattr(self, "shelf"):
            return
        with self.db.read() as session:
            named = set(session.scalars(select(Version.digest).where(Version.deleted_at.is_(None))))
        assert named <= self.shelf.kept

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.db.close()
            for path in self.folder.parent.glob(self.folder.name + "*"):
                path.unlink()


Registry.TestCase.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
TestRegistry = Registry.TestCase


@pytest.fixture
def stocked(database: Database, tmp_path: Path) -> tuple[Database, PackageStore]:
    """Version 1 names the first digest; the second is on the shelf, and nobody names it."""
    store = PackageStore(tmp_path / "packages")
    with database.write() as session:
        put_model(session, Sla.model_validate(SLA.model_dump()), "default", 0.0)
        add_version(session, "ads", DIGESTS[0], manifest_of("click"), 0.0)
    for digest in DIGESTS[:2]:
        (store.root / digest).mkdir()
        (store.root / digest / "manifest.json").write_text("{}")
    return database, store


def test_only_what_no_version_names_goes_and_a_dry_run_takes_nothing(stocked: Any) -> None:
    db, store = stocked
    for dry_run in (True, True, False):
        found = collect(db, store, 1e9, dry_run=dry_run, actor="test")
        assert (found.packages, found.kept) == ((DIGESTS[1],), {})
        assert store.shelf.digests() == ({*DIGESTS[:2]} if dry_run else {DIGESTS[0]})
    assert collect(db, store, 1e9, dry_run=False, actor="test").packages == ()


def test_what_a_push_may_be_about_to_name_stays(stocked: Any) -> None:
    db, store = stocked
    with db.write() as session:
        hold(session, DIGESTS[1], 1e9)
    assert collect(db, store, 1e9 + 1, dry_run=False, actor="test").kept == {DIGESTS[1]: "a push"}
    assert collect(db, store, 1e9 + HOLD_S + 1, dry_run=False, actor="test").packages == (DIGESTS[1],)


def test_a_removal_that_was_killed_is_ended_by_the_next(stocked: Any) -> None:
    db, store = stocked
    with db.write() as session:
        assert begin_removal(session, DIGESTS[1], 1e9) == ""
    with db.write() as session, pytest.raises(Stale, match="being removed"):
        hold(session, DIGESTS[1], 1e9 + 1)
    assert collect(db, store, 1e9 + 1, dry_run=False, actor="test").packages == ()
    assert collect(db, store, 1e9 + REMOVAL_S + 1, dry_run=False, actor="test").packages == (DIGESTS[1],)
    assert store.shelf.digests() == {DIGESTS[0]}


def test_uploads_that_nobody_went_on_with_are_garbage(stocked: Any) -> None:
    db, store = stocked
    with db.write() as session:
        told: dict[str, Any] = {"actor": "me", "signatures": ()}
        old = uploads.begin(session, "ads", "0" * 64, 9, now=1e9, **told).id
        new = uploads.begin(session, "ads", "1" * 64, 9, now=1e9 + uploads.LIFE_S, **told).id
    for upload in (old, new):
        store.spool.write(upload, 0, b"123", 9)
    assert collect(db, store, 1e9 + uploads.LIFE_S + 1, dry_run=False, actor="test").uploads == (old,)
    assert (store.spool.offset(old), store.spool.offset(new)) == (0, 3)


def test_it_goes_now_and_then_by_whoever_has_the_lease(stocked: Any) -> None:
    db, store = stocked
    ticks, active = [0.0], [False]

    def sweeping(every_s: float) -> Sweeping:
        return Sweeping(db, store, lambda: 1e9, every_s=every_s, active=lambda: active[0], ticks=lambda: ticks[0])

    one, never = sweeping(3_600.0), sweeping(0.0)
    assert one.turn() is None
    active[0] = True
    assert never.turn() is None
    assert store.shelf.digests() == {*DIGESTS[:2]}
    first = one.turn()
    assert first is not None
    assert first.packages == (DIGESTS[1],)
    ticks[0] = 3_599.0
    assert one.turn() is None
    ticks[0] = 3_600.0
    assert one.turn() is not None
    with db.read() as session:
        entry = session.scalars(select(AuditRow).where(AuditRow.action == "garbage.collect")).one()
    assert (entry.actor, entry.detail["packages"]) == ("controller", [DIGESTS[1]])


def test_numbers_have_no_gaps_and_no_doubles_when_many_push_at_once(database: Database) -> None:
    with database.write() as session:
        put_model(session, SLA, "default", 0.0)

    def push(n: int) -> int:
        digest, now = f"{n % 12:064x}", 1e9
        with database.write() as session:
            hold(session, digest, now)
        with database.write() as session:
            confirm(session, digest)
            return add_version(session, "ads", digest, manifest_of("click", note=digest), now)[0]

    with ThreadPoolExecutor(8) as threads:
        numbers = list(threads.map(push, range(24)))
    assert sorted(set(numbers)) == list(range(1, 13))
    assert all(numbers[n] == numbers[n + 12] for n in range(12))
