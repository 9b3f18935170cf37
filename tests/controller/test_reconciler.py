"""The loop over a real database: killed anywhere it goes on; one acts; shares, aliases and routes follow the rows."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

import controller
from controller import leases
from controller.advance import advance, promote_now
from controller.database import Database
from controller.registry import alias_of
from controller.rollouts import Ask
from controller.rows import as_rollout, rollout_row
from controller.tables import AliasMove, Model, Route
from serinus.errors import AlreadyActive, IllegalMove, Stale
from serinus.rollouts import Phase
from serinus.routes import RouteTable

# Rounds of the reconciler in child processes, each killed at its n-th commit: just before it, or just after.
CHILD = """
import os, signal, sys
from sqlalchemy import event
from controller.database import Database
from controller.reconciler import Reconciler

url, now = sys.argv[1], float(sys.argv[2])

def life(after, at):
    db, commits = Database(url), 0
    commit = db.engine.dialect.do_commit
    def counted(connection):
        nonlocal commits
        commits += 1
        if commits == at and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        commit(connection)
        if commits == at:
            os.kill(os.getpid(), signal.SIGKILL)
    db.engine.dialect.do_commit = counted
    Reconciler(db, lambda digest: f"file:///packages/{digest}", lambda: now, lambda _pool: None).round()
    os._exit(0)

for after in (False, True):
    for at in (1, 2, 3):
        pid = os.fork()
        if pid == 0:
            life(after, at)
        _, status = os.waitpid(pid, 0)
        print(os.WTERMSIG(status), flush=True)
        now += 10  # by then the lease of the dead has run out
"""


def state(db: Database, rollout_id: str) -> tuple[Any, ...]:
    with db.read() as session:
        rollout = as_rollout(rollout_row(session, rollout_id))
        moves = session.scalars(select(AliasMove).order_by(AliasMove.id)).all()
        table = session.scalars(select(Route)).one().body
        return (
            rollout.phase,
            [(move.start, move.to, move.why) for move in rollout.history],
            [(move.alias, move.was, move.version) for move in moves],
            table.model_copy(update={"epoch": 1}),
        )


def table_of(world: Any) -> RouteTable:
    with world.db.read() as session:
        return session.scalars(select(Route)).one().body


def phase_of(world: Any, rollout_id: str) -> Phase:
    with world.db.read() as session:
        return as_rollout(rollout_row(session, rollout_id)).phase


def aliases(world: Any) -> tuple[int | None, int | None]:
    with world.db.read() as session:
        return alias_of(session, "ads", "stable"), alias_of(session, "ads", "previous")


def promoted(world: Any, bake_s: int = 3600, version: int = 2) -> str:
    """A rollout that has just been promoted and is in its bake."""
    rollout: str = world.start(version, world.hasty.model_copy(update={"bake_s": bake_s}))
    world.replicas(1, 2, 3)
    world.look(rollout)
    reconciler = world.reconciler()
    reconciler.round()
    world.look(rollout, candidate=version, baseline=aliases(world)[0])
    reconciler.round()
    reconciler.stop()
    assert phase_of(world, rollout) is Phase.BAKE
    return rollout


def looked(world: Any, rollout: str, verdict: str, at_ms: int, **versions: int) -> None:
    world.look(rollout, verdict, at_ms, **versions)
    reconciler = world.reconciler()
    reconciler.round()
    reconciler.stop()


def test_a_good_version_is_promoted_and_the_old_one_stays_warm(world: Any) -> None:
    rollout = world.start()
    world.replicas(1, 2)
    reconciler = world.reconciler()
    reconciler.round()
    assert phase_of(world, rollout) is Phase.SHADOW
    shadow = table_of(world)
    assert (shadow.stable, shadow.candidate, shadow.shadow_bp) == ({"click": 1}, {"click": 2}, 10_000)
    assert (shadow.rollout, shadow.salt, shadow.expires_at) == (rollout, rollout, world.now + 600)
    world.look(rollout)
    reconciler.round()
    assert phase_of(world, rollout) is Phase.DONE
    assert aliases(world) == (2, 1)
    table = table_of(world)
    assert (table.stable, table.candidate, table.shadow_bp, table.rollout) == ({"click": 2}, None, 0, None)
    assert table.warm == (1,)
    assert table.packages[1].uri == "file:///packages/digest-1"


def test_the_candidate_is_listed_without_a_share_while_it_is_loaded(world: Any) -> None:
    world.start()
    world.reconciler().round()
    table = table_of(world)
    assert (table.candidate, table.canary_bp, table.shadow_bp, table.expires_at) == ({"click": 2}, 0, 0, None)


def test_in_the_bake_the_old_stable_is_the_shadow(world: Any) -> None:
    promoted(world)
    table = table_of(world)
    assert (table.stable, table.candidate) == ({"click": 2}, {"click": 1})
    assert (table.canary_bp, table.shadow_bp) == (0, 10_000)


def test_a_violation_in_the_bake_restores_both_aliases(world: Any, make: Any) -> None:
    first = promoted(world)
    looked(world, first, "violated", make.T0 + 2 * make.DAY_MS)
    assert phase_of(world, first) is Phase.ROLLED_BACK
    assert aliases(world) == (1, None)
    table = table_of(world)
    assert (table.stable, table.candidate, table.warm) == ({"click": 1}, None, ())


def test_previous_points_where_it_did_before_a_promotion_that_was_undone(world: Any, make: Any) -> None:
    looked(world, promoted(world), "satisfied", make.T0 + 3 * make.DAY_MS)
    assert aliases(world) == (2, 1)
    second = promoted(world, version=3)
    assert aliases(world) == (3, 2)
    looked(world, second, "violated", make.T0 + 5 * make.DAY_MS, baseline=2, candidate=3)
    assert aliases(world) == (2, 1)


def test_a_violation_is_final_whatever_later_evidence_says(world: Any, make: Any) -> None:
    rollout = world.start()
    world.replicas(1, 2)
    world.reconciler().round()
    world.look(rollout, "violated", make.T0)
    looked(world, rollout, "satisfied", make.T0 + make.DAY_MS)
    world.now += leases.LEASE_S
    world.reconciler().round()
    assert phase_of(world, rollout) is Phase.ROLLED_BACK


def test_killed_at_any_commit_it_goes_on_to_the_same_end(world: Any, database_url: str) -> None:
    rollout = world.start()
    world.replicas(1, 2)
    world.now += 20
    world.look(rollout)
    env = {**os.environ, "PYTHONPATH": str(Path(controller.__file__).parents[1])}
    told = subprocess.run(
        [sys.executable, "-c", CHILD, database_url, str(world.now)],
        env=env, check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert told.stdout.split() == [str(int(signal.SIGKILL))] * 6
    with world.db.read() as session:
        history = as_rollout(rollout_row(session, rollout)).history
    assert 0 < len(history) < 6, "it was killed on its way, not before or after it"
    world.now += 60
    world.look(rollout)
    world.reconciler().round()
    phase, moves, moved, table = state(world.db, rollout)
    assert phase is Phase.DONE
    path = [Phase.PENDING, Phase.LOADING, Phase.SHADOW, Phase.CANARY, Phase.RAMP, Phase.BAKE, Phase.DONE]
    assert [(start, to) for start, to, _ in moves] == list(itertools.pairwise(path))
    assert moved == [("stable", None, 1), ("previous", None, 1), ("stable", 1, 2)]
    assert (table.stable, table.candidate, table.warm) == ({"click": 2}, None, (1,))


def test_of_two_reconcilers_one_acts_until_it_is_silent(world: Any) -> None:
    rollout = world.start()
    world.replicas(1, 2)
    first, second = world.reconciler(), world.reconciler()
    assert first.round() > 0
    world.look(rollout)
    assert second.round() == 0
    assert not second.active
    world.now += leases.LEASE_S
    assert second.round() > 0
    assert first.round() == 0
    second.stop()
    assert first.round() == 0
    assert first.active


def test_a_stale_lease_writes_nothing(world: Any) -> None:
    rollout = world.start()
    first = world.reconciler()
    assert leases.hold(world.db, first.holder, world.now)
    assert leases.hold(world.db, "another", world.now + leases.LEASE_S)
    with pytest.raises(Stale):
        advance(world.db, rollout, world.uri, world.now + leases.LEASE_S, lease=first.holder)
    assert phase_of(world, rollout) is Phase.PENDING


def test_shares_run_out_when_the_monitor_is_silent(world: Any) -> None:
    rollout = world.start()
    world.replicas(1, 2)
    reconciler = world.reconciler()
    reconciler.round()
    granted = table_of(world)
    world.now += 130
    reconciler.round()
    assert table_of(world) == granted
    world.look(rollout, "inconclusive", cells=(), watermark_ms=0)
    world.now += 1
    reconciler.round()
    renewed = table_of(world)
    assert renewed.expires_at == world.now + 600
    assert renewed.epoch == granted.epoch + 1
    world.now += 50
    reconciler.round()
    assert table_of(world) == renewed


def test_a_second_rollout_is_refused_while_one_is_active(world: Any) -> None:
    first = world.start()
    with pytest.raises(AlreadyActive, match=first):
        world.start(3)


def test_a_promotion_by_hand_supersedes_the_active_rollout(world: Any) -> None:
    rollout = world.start()
    ask = Ask("promote", "an emergency", "ann")
    with world.db.write() as session:
        promote_now(session, "ads", 3, world.uri, ask=ask, initial=False, now=world.now)
    assert phase_of(world, rollout) is Phase.SUPERSEDED
    assert aliases(world) == (3, 1)
    with world.db.read() as session:
        last = as_rollout(rollout_row(session, rollout)).history[-1]
        assert session.scalar(select(Model.warm)) == 1
    assert (last.actor, "an emergency" in last.why) == ("ann", True)
    assert world.start(2)


def test_a_command_that_is_not_possible_changes_nothing(world: Any) -> None:
    rollout = world.start()
    with pytest.raises(IllegalMove, match="nothing happened yet"):
        advance(world.db, rollout, world.uri, world.now, ask=Ask("approve", "", "ann"))
    assert phase_of(world, rollout) is Phase.PENDING
