"""What the status says, and that it costs the same few queries with one model and with a thousand."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event, insert

from controller import leases
from controller.alerts import keep_alerts
from controller.database import Database
from controller.status import status_of
from controller.status_words import Status
from controller.tables import Alias, Delivery, Model, NoticeRow, Version
from serinus.evidence import HealthAlert
from serinus.notices import Notice
from serinus.rollouts import Phase


def said(db: Database, now: float) -> tuple[Status, int]:
    """(The status, how many queries it took)."""
    asked: list[str] = []
    event.listen(db.engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
    with db.read() as session:
        return status_of(session, now, acting=True, you="viewer"), len(asked)


def test_an_empty_controller_has_a_status(database: Database) -> None:
    status, _ = said(database, 1.0)
    assert (status.models, status.rollouts, status.alerts, status.lease_until) == ((), (), (), None)
    assert status.notices.count == 0


def test_a_thousand_models_take_no_more_queries_than_one(world: Any, make: Any) -> None:
    _, few = said(world.db, world.now)
    names = [f"m{n:04}" for n in range(1_000)]
    with world.db.write() as session:
        first = session.get_one(Model, "ads")
        version = session.get_one(Version, ("ads", 1))
        plain = {"pool": "default", "sla": first.sla, "created_at": 1.0, "signed_by": ()}
        session.execute(insert(Model), [{"name": name, **plain} for name in names])
        told = {"number": 1, "digest": "d", "manifest": version.manifest, "created_at": 1.0}
        session.execute(insert(Version), [{"model": name, **told} for name in names])
        session.execute(insert(Alias), [{"model": name, "alias": "stable", "version": 1} for name in names])
    status, many = said(world.db, world.now)
    assert len(status.models) == 1_001
    assert {each.aliases["stable"] for each in status.models} == {1}
    assert many == few


def test_it_tells_what_holds_a_rollout_and_who_waits_behind_it(world: Any) -> None:
    world.replicas(1, 2)
    first, second = world.start(), world.start(3, queue=True)
    world.reconciler().round()
    world.look(first, holds=("weather is stale",))
    status, _ = said(world.db, world.now)
    assert [each.id for each in status.rollouts] == [first, second]
    going, queued = status.rollouts
    assert (going.look, going.holds) == ("satisfied", ("weather is stale",))
    assert len(going.history) == 1
    assert going.history[0].to == going.phase
    assert (queued.phase, queued.waiting_for) == (Phase.QUEUED, f"its turn, behind {first}")
    assert {each.model: each.rollout for each in status.models} == {"ads": first}


def test_it_tells_of_alerts_that_last_of_the_lease_and_of_notices_that_wait(world: Any) -> None:
    db, now = world.db, world.now
    leases.hold(db, "one", now)
    alerts = [HealthAlert(key=f"k{n}", model="ads", kind="log", text=f"t{n}") for n in range(3)]
    notice = Notice(kind="test", severity="critical", key="k", model="ads", title="t", text="x", at=now - 50)
    with db.write() as session:
        keep_alerts(session, "m1", alerts, now)
        keep_alerts(session, "m1", alerts[:2], now + 1)
        row = NoticeRow(at=now - 50, model="ads", body=notice, routed=True)
        session.add(row)
        session.flush()
        sent = {"notice": row.number, "attempts": 1}
        session.add(Delivery(target="chat", due_at=now, delivered_at=None, said="timed out", **sent))
        session.add(Delivery(target="pager", due_at=None, delivered_at=now, said="", **sent))
    status, _ = said(db, now)
    assert status.now == now
    assert status.lease_until == pytest.approx(now + leases.LEASE_S)
    assert (sorted(each.alert.key for each in status.alerts), status.alerts_in_all) == (["k0", "k1"], 2)
    assert status.notices.model_dump() == {"count": 1, "failing": 1, "oldest_at": now - 50, "said": "timed out"}
