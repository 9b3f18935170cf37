"""The queue behind a model's rollout; trying again; what a move leaves in the audit log and in the notices."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from controller import leases
from controller.advance import advance, promote_now
from controller.rollouts import Ask, Rollout
from controller.rows import as_rollout, lock_model, rollout_row
from controller.tables import AuditRow, NoticeRow
from controller.views import rollout_view
from serinus.errors import AlreadyActive, BadInput
from serinus.rollouts import Phase, RolloutView
from serinus.sla import Sla


def rollout(world: Any, rollout_id: str) -> Rollout:
    with world.db.read() as session:
        return as_rollout(rollout_row(session, rollout_id))


def view(world: Any, rollout_id: str) -> RolloutView:
    with world.db.read() as session:
        return rollout_view(session, rollout_row(session, rollout_id), world.now)


def command(world: Any, rollout_id: str, word: Any, reason: str = "because") -> None:
    advance(world.db, rollout_id, world.uri, world.now, ask=Ask(word, reason, "ann", "ann-laptop"))


def promote(world: Any, version: int) -> None:
    with world.db.write() as session:
        ask = Ask("promote", "an emergency", "ann")
        promote_now(session, "ads", version, world.uri, ask=ask, initial=False, now=world.now)


def test_a_queued_rollout_begins_by_itself_when_the_one_before_it_ends(world: Any) -> None:
    first, second = world.start(2), world.start(3, queue=True)
    world.replicas(1)
    reconciler = world.reconciler()
    reconciler.round()
    waits = view(world, second)
    assert (waits.phase, waits.queued_behind, waits.allowed) == (Phase.QUEUED, (first,), ("abort",))
    assert waits.waiting_for == f"its turn, behind {first}"
    command(world, first, "abort")
    reconciler.round()
    begun = rollout(world, second)
    assert [move.trigger for move in begun.history] == ["turn", "begin"]
    assert (begun.phase, begun.baseline) == (Phase.LOADING, 1)


def test_it_is_compared_with_what_is_stable_when_its_turn_comes_by_the_sla_of_then(world: Any, make: Any) -> None:
    first, second = world.start(2), world.start(3, queue=True)
    with world.db.write() as session:
        sla = Sla.model_validate({**make.SLA.model_dump(), "tick_s": 3600})
        lock_model(session, "ads").sla = sla
    command(world, first, "abort")
    promote(world, 2)
    world.replicas(1)
    world.reconciler().round()
    begun = rollout(world, second)
    assert (begun.phase, begun.baseline) == (Phase.LOADING, 2)
    assert "stable is version 2 now, and was 1" in begun.history[0].why
    with world.db.read() as session:
        assert rollout_row(session, second).sla.tick_s == 3600
        assert rollout_row(session, first).sla.tick_s == 600


def test_first_come_first_served_and_one_that_was_aborted_makes_room(world: Any) -> None:
    world.start(2)
    second = world.start(3, queue=True)
    with pytest.raises(AlreadyActive, match="version 3 of ads already"):
        world.start(3, queue=True)
    with pytest.raises(AlreadyActive, match="is active"):
        world.start(3)
    command(world, second, "abort")
    third = world.start(3, queue=True)
    assert rollout(world, third).place > rollout(world, second).place
    assert len(view(world, third).queued_behind) == 1


def test_nobody_jumps_the_queue(world: Any) -> None:
    first = world.start(2)
    second = world.start(3, queue=True)
    command(world, first, "abort")
    with pytest.raises(AlreadyActive, match="wait for their turn"):
        world.start(2)
    third = world.start(2, queue=True)
    assert view(world, third).queued_behind == (second,)
    world.reconciler().round()
    assert rollout(world, second).running
    assert rollout(world, third).phase is Phase.QUEUED


def test_a_queued_version_that_became_stable_is_superseded_and_the_queue_goes_on(world: Any) -> None:
    first, second = world.start(2), world.start(3, queue=True)
    promote(world, 3)
    assert rollout(world, first).history[-1].trigger == "superseded"
    third = world.start(2, queue=True)
    world.reconciler().round()
    gone = rollout(world, second)
    assert (gone.phase, gone.history[-1].trigger) == (Phase.SUPERSEDED, "overtaken")
    world.reconciler().round()
    world.now += leases.LEASE_S
    world.reconciler().round()
    assert rollout(world, third).running


def test_a_version_that_was_rolled_back_is_tried_again_only_with_a_reason_and_on_new_evidence(
    world: Any, make: Any
) -> None:
    first = world.start(2)
    world.replicas(1, 2)
    reconciler = world.reconciler()
    reconciler.round()
    world.look(first, "violated", make.T0 + make.DAY_MS)
    reconciler.round()
    assert rollout(world, first).phase is Phase.ROLLED_BACK
    with pytest.raises(BadInput, match=f"rolled back in rollout {first}"):
        world.start(2, why="  ")
    second = world.start(2, why="the feature store is mended")
    reconciler.round()
    again = rollout(world, second)
    assert (again.phase, again.started_event_ms) == (Phase.SHADOW, make.T0 + make.DAY_MS)
    assert view(world, second).reason == "the feature store is mended"


def test_every_move_is_in_the_audit_log_with_its_evidence_and_whose_token_it_was(world: Any) -> None:
    first = world.start(2)
    world.replicas(1, 2)
    world.reconciler().round()
    world.look(first)
    world.now += leases.LEASE_S
    world.reconciler().round()
    promote(world, 1)
    second = world.start(3)
    command(world, second, "abort", "not today")
    moves = [*rollout(world, first).history, *rollout(world, second).history]
    with world.db.read() as session:
        query = select(AuditRow).where(AuditRow.subject.startswith("rollouts/")).order_by(AuditRow.number)
        entries = session.scalars(query).all()
    told = [entry for entry in entries if entry.action != "rollout.start"]
    assert [entry.action for entry in told] == [f"rollout.{move.trigger}" for move in moves]
    assert [entry.detail["evidence"] for entry in told] == [move.evidence for move in moves]
    assert [entry.actor for entry in told] == ["controller"] * (len(moves) - 1) + ["ann-laptop"]
    assert (told[-1].detail["in_the_name_of"], told[-1].detail["reason"]) == ("ann", "not today")
    assert [entry.subject for entry in entries if entry.action == "rollout.start"] == [
        f"rollouts/{first}",
        f"rollouts/{second}",
    ]


def test_people_are_told_of_a_promotion_and_of_a_rollback_with_numbers(world: Any, make: Any) -> None:
    first = world.start(2, world.hasty.model_copy(update={"bake_s": 3600}))
    world.replicas(1, 2)
    world.look(first)
    reconciler = world.reconciler()
    reconciler.round()
    world.look(first)
    reconciler.round()
    world.look(first, "violated", make.T0 + 2 * make.DAY_MS)
    reconciler.round()
    with world.db.read() as session:
        notices = [row.body for row in session.scalars(select(NoticeRow).order_by(NoticeRow.number))]
    assert [(notice.kind, notice.severity) for notice in notices] == [("promoted", "info"), ("rolled_back", "critical")]
    assert notices[-1].rollout == first
    assert [(guard.guard, guard.estimate) for guard in notices[-1].guards] == [("click / overall / auc", 0.0312)]


def test_time_without_a_controller_is_counted_by_the_lease(world: Any) -> None:
    one, two = world.reconciler(), world.reconciler()
    one.round()
    world.now += leases.LEASE_S + 100
    two.round()
    with world.db.read() as session:
        assert leases.dead_s(session) == 100
    two.stop()
    world.now += 30
    one.round()
    with world.db.read() as session:
        assert leases.dead_s(session) == 130


def test_replicas_get_their_time_to_load_after_an_outage_of_the_controller(world: Any) -> None:
    rollout_id = world.start(2)
    first = world.reconciler()
    first.round()
    world.now += 3600  # it died, and nobody was there
    world.reconciler().round()
    assert rollout(world, rollout_id).phase is Phase.LOADING
    second = world.reconciler()
    for _ in range(80):
        world.now += 4
        second.round()
    assert rollout(world, rollout_id).phase is Phase.ROLLED_BACK


def test_a_regression_that_only_late_labels_show_goes_back_in_the_bake(world: Any, make: Any) -> None:
    first = world.start(2, world.hasty.model_copy(update={"bake_s": 10 * 86_400}))
    world.replicas(1, 2)
    reconciler = world.reconciler()
    for day in (1, 1, 2, 3):
        world.look(first, "satisfied", make.T0 + day * make.DAY_MS)
        reconciler.round()
    assert rollout(world, first).phase is Phase.BAKE
    # labels of requests from before the promotion have matured: the evidence begins where it always began
    world.look(first, "violated", make.T0 + 5 * make.DAY_MS, first_event_ms=make.T0)
    reconciler.round()
    back = rollout(world, first)
    assert (back.phase, back.promoted, back.history[-1].start) == (Phase.ROLLED_BACK, False, Phase.BAKE)


def test_evidence_after_the_end_changes_nothing(world: Any, make: Any) -> None:
    first = world.start(2)
    world.replicas(1, 2)
    reconciler = world.reconciler()
    for _ in range(2):
        world.look(first)
        reconciler.round()
    done = rollout(world, first)
    assert done.phase is Phase.DONE
    world.look(first, "violated", make.T0 + 9 * make.DAY_MS)
    reconciler.round()
    assert rollout(world, first) == done
