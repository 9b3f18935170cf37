"""Models, versions and aliases, on each backend."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from controller.advance import promote_now, start
from controller.exchange import keep, work
from controller.registry import add_version, point, put_model
from controller.replicas import gone, record
from controller.rollouts import Ask
from controller.routebook import Page, epochs_of, tables_of
from controller.rows import live_replicas
from controller.tables import AliasMove, EvidenceRow, Model
from serinus.errors import BadInput, IllegalMove, InvalidPackage, InvalidSla, NotFound
from serinus.evidence import MonitorReport
from serinus.routes import WatchRequest
from serinus.sla import Sla

SLA2 = Sla.model_validate(
    {"model": "ads", "tasks": {t: {"label_window_s": 60, "absent": "negative"} for t in ("click", "buy")}}
)


def test_the_same_package_is_the_same_version(world: Any, make: Any) -> None:
    with world.db.write() as session:
        assert add_version(session, "ads", "digest-2", make.manifest("click", note="2"), 0.0) == (2, False)
        assert add_version(session, "ads", "digest-9", make.manifest("click", note="9"), 0.0) == (4, True)


def test_a_version_without_a_task_of_the_sla_is_refused_by_its_name(world: Any, make: Any) -> None:
    with world.db.write() as session, pytest.raises(InvalidPackage, match="'click'"):
        add_version(session, "ads", "digest-9", make.manifest("buy"), 0.0)


def test_an_sla_with_a_task_that_the_stable_version_lacks_is_refused(world: Any) -> None:
    with world.db.write() as session, pytest.raises(InvalidSla, match=r"tasks\.buy"):
        put_model(session, SLA2, "default", 0.0)


COLOURS = ("red", "green", "blue")


def colourful(make: Any, classes: tuple[str, ...], note: str = "") -> Any:
    """A package whose click is multiclass."""
    plain = make.manifest("click", note=note)
    share = 1 / len(classes)
    told = {"kind": "multiclass", "classes": classes, "base_rate": (share,) * len(classes)}
    return plain.model_copy(update={"tasks": (plain.tasks[0].model_copy(update=told),)})


def colourful_sla(kind: str = "multiclass") -> Sla:
    task = {"kind": kind, "label_window_s": 60, "absent": "unlabelled"}
    return Sla.model_validate({"model": "ads", "tasks": {"click": task}})


def test_a_task_of_another_kind_is_refused(world: Any, make: Any) -> None:
    with (
        world.db.write() as session,
        pytest.raises(InvalidPackage, match="is binary; in the package it is multiclass"),
    ):
        add_version(session, "ads", "digest-9", colourful(make, COLOURS), 0.0)
    with (
        world.db.write() as session,
        pytest.raises(InvalidSla, match=r"tasks\.click\.kind: it is regression, but b"),
    ):
        put_model(session, colourful_sla("regression"), "default", 0.0)


def test_versions_of_other_classes_are_not_compared(world: Any, make: Any) -> None:
    with world.db.write() as session:
        put_model(session, colourful_sla().model_copy(update={"model": "art"}), "default", 0.0)
        for number, classes in enumerate((COLOURS, COLOURS[::-1], COLOURS), 1):
            add_version(session, "art", f"digest-art-{number}", colourful(make, classes, str(number)), 0.0)
        point(session, "art", "stable", 1, why="", actor="test", now=0.0, rollout=None)
        with pytest.raises(InvalidPackage, match=r"'click' has the classes \['blue', 'green', 'red'\], in the stable"):
            start(session, "art", 2, None, why="", actor="ann", now=1.0)
        assert start(session, "art", 3, None, why="", actor="ann", now=1.0).candidate == 3


def test_every_move_of_an_alias_is_kept(world: Any) -> None:
    with world.db.write() as session:
        ask = Ask("promote", "ann wants it", "ann")
        promote_now(session, "ads", 3, world.uri, ask=ask, initial=False, now=5.0)
    with world.db.read() as session:
        moves = session.scalars(select(AliasMove).order_by(AliasMove.id)).all()
        told = [(move.alias, move.was, move.version, move.actor) for move in moves]
    assert told == [("stable", None, 1, "test"), ("previous", None, 1, "ann"), ("stable", 1, 3, "ann")]


def test_an_initial_promotion_happens_once_and_an_override_needs_a_reason(world: Any) -> None:
    with world.db.write() as session:
        silent = Ask("promote", "", "ann")
        promote_now(session, "ads", 1, world.uri, ask=silent, initial=True, now=5.0)  # it is stable: nothing to do
        with pytest.raises(IllegalMove, match="stable version already"):
            promote_now(session, "ads", 2, world.uri, ask=silent, initial=True, now=5.0)
        with pytest.raises(BadInput, match="reason"):
            promote_now(session, "ads", 2, world.uri, ask=silent, initial=False, now=5.0)
        with pytest.raises(NotFound, match="no version 77"):
            promote_now(session, "ads", 77, world.uri, ask=silent, initial=True, now=5.0)


def test_the_database_itself_refuses_what_points_nowhere(world: Any) -> None:
    with pytest.raises(IntegrityError), world.db.write() as session:
        session.execute(text("update aliases set version = 77"))


def test_the_first_evidence_of_a_tick_stays(world: Any, make: Any) -> None:
    rollout = world.start()
    world.look(rollout, "inconclusive", make.T0)
    world.look(rollout, "violated", make.T0)
    world.look("no-such-rollout", "violated", make.T0)
    world.look(rollout, "violated", make.T0 + 1, candidate=3)
    with world.db.read() as session:
        kept = session.scalars(select(EvidenceRow)).all()
        assert [(row.tick_ms, row.body) for row in kept] == [(make.T0, make.evidence("inconclusive", make.T0, rollout))]


def test_evidence_for_a_rollout_that_has_ended_is_ignored(world: Any, make: Any) -> None:
    rollout = world.start()
    with world.db.write() as session:
        ask = Ask("promote", "an emergency", "ann")
        promote_now(session, "ads", 3, world.uri, ask=ask, initial=False, now=5.0)
    world.look(rollout, "violated", make.T0)
    with world.db.read() as session:
        assert session.scalars(select(EvidenceRow)).all() == []


def test_infinite_evidence_is_kept(world: Any, make: Any) -> None:
    rollout = world.start()
    world.look(rollout, "violated", make.T0, e=float("inf"))
    with world.db.read() as session:
        assert session.scalars(select(EvidenceRow)).one().body.e == float("inf")


def test_a_watermark_never_goes_back(world: Any) -> None:
    for watermark in (5, 3):
        with world.db.write() as session:
            keep(session, MonitorReport(monitor="m", watermarks_ms={"ads": watermark, "unknown": 9}), world.now)
    with world.db.read() as session:
        assert session.scalar(select(Model.watermark_ms)) == 5


def test_monitors_get_work_from_shadow_on_with_the_newest_tick(world: Any, make: Any) -> None:
    rollout = world.start(plan=make.PLAN)
    with world.db.read() as session:
        assert work(session, world.uri).rollouts == ()
        assert work(session, world.uri).models == ("ads",)
    world.replicas(1, 2)
    with world.db.write() as session:
        keep(session, MonitorReport(monitor="m", watermarks_ms={"ads": make.T0}), world.now)
    world.reconciler().round()
    world.look(rollout, "inconclusive", make.T0 + 600_000)
    with world.db.read() as session:
        (item,) = work(session, world.uri).rollouts
    assert (item.rollout, item.baseline, item.candidate, item.alpha) == (rollout, 1, 2, 0.05)
    assert (item.started_event_ms, item.last_tick_ms) == (make.T0, make.T0 + 600_000)


def test_a_rollout_keeps_the_sla_it_began_with(world: Any, make: Any) -> None:
    world.start()
    world.replicas(1, 2)
    reconciler = world.reconciler()
    reconciler.round()
    with world.db.write() as session:
        assert work(session, world.uri).rollouts == (), "without a watermark nobody knows where evidence begins"
        keep(session, MonitorReport(monitor="m", watermarks_ms={"ads": make.T0}), world.now)
    reconciler.round()
    changed = make.SLA.model_copy(update={"tick_s": 3600})
    with world.db.write() as session:
        put_model(session, changed, "default", 0.0)
    with world.db.read() as session:
        assert work(session, world.uri).rollouts[0].sla.tick_s == 600


def test_a_report_beside_the_long_poll_does_not_shorten_a_replicas_life(world: Any, make: Any) -> None:
    (report, *_) = make.replicas()
    with world.db.write() as session:
        until = record(session, "default", WatchRequest(report=report, wait_s=60), 1000.0)
        assert record(session, "default", WatchRequest(report=report, wait_s=0), 1010.0) == until == 1075.0
    with world.db.write() as session:
        gone(session, "default", report.replica, 1.0, 1011.0)  # a poll that a later one has overtaken
        assert live_replicas(session, "default", 1074.0) == (report,)
        gone(session, "default", report.replica, until, 1011.0)
        assert live_replicas(session, "default", 1011.0) == ()


def test_replicas_hear_of_other_epochs_and_of_models_that_left_their_pool(world: Any, make: Any) -> None:
    with world.db.write() as session:
        page = Page(0, epochs_of(session, "default"))
        assert page.news({}) == page.news({"ads": 7}) == ("ads",)
        assert page.news({"ads": 1}) is None
        found = tables_of(session, ("ads",), tuple(page.epochs))
        assert (found.models, found.tables[0].epoch) == (("ads",), 1)
        put_model(session, make.SLA, "other", 0.0)
        page = Page(1, epochs_of(session, "default"))
        assert page.news({"ads": 1}) == ()
        assert tables_of(session, (), tuple(page.epochs)).models == ()
