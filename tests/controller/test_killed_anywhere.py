"""Killed before and after the commit of every transition of the table: the end is that of an undisturbed run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

import controller
from controller.advance import advance, promote_now
from controller.database import Database
from controller.exchange import keep
from controller.reconciler import Reconciler
from controller.registry import add_version, point, put_model
from controller.replicas import record
from controller.rollouts import Ask, Rollout
from controller.routes import publish
from controller.tables import AliasMove, AuditRow, Base, JobRow, NoticeRow, RolloutRow, Route
from serinus.evidence import METHOD, MonitorReport
from serinus.rollouts import Move, Phase, Preflight, Step
from serinus.routes import ReplicaReport, WatchRequest
from serinus.sla import Sla
from serinus.transitions import COMMANDS, TRANSITIONS, Transition, listed

NOTHING, BROKEN = "digest-of-nobody", "digest-of-a-broken-one"
PAUSABLE = [row.start for row in TRANSITIONS if row.trigger == "pause"]
BY_HAND = (*COMMANDS, "superseded")

# Lives that end by SIGKILL at the first commit that changes a rollout: just before it, and just after it, in turn.
CHILD = """
import json, os, signal, sys
from sqlalchemy import event, update
from controller.advance import advance, promote_now
from controller.database import Database
from controller.reconciler import Reconciler
from controller.rollouts import Ask
from controller.tables import Lease

url, now, asked = sys.argv[1], float(sys.argv[2]), json.loads(sys.argv[3])
uri = lambda digest: f"file:///packages/{digest}"
db = Database(url)
with db.write() as session:
    session.execute(update(Lease).values(expires_at=now))
db.engine.dispose()  # its connections are not for the children

def life(after, act):
    moved = []
    with db.write() as session:
        session.execute(update(Lease).values(expires_at=now))  # that of the dead has run out
    def see(connection, cursor, statement, *rest):
        if statement.startswith("UPDATE rollouts"):
            moved.append(statement)
    event.listen(db.engine, "before_cursor_execute", see)
    commit = db.engine.dialect.do_commit
    def killing(connection):
        if moved and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        commit(connection)
        if moved:
            os.kill(os.getpid(), signal.SIGKILL)
    db.engine.dialect.do_commit = killing
    act()
    os._exit(0)

def lived(after, act):
    pid = os.fork()
    if pid == 0:
        try:
            life(after, act)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def by_hand(model, rollout, command):
    def act():
        ask = Ask(command, "because", "ann")
        if command != "superseded":
            return advance(db, rollout, uri, now, ask=ask)
        with db.write() as session:
            promote_now(session, model, 3, uri, ask=ask, initial=False, now=now)
    return act

for each in asked:
    for after in (False, True):
        assert lived(after, by_hand(*each)) == -signal.SIGKILL, each
killed, after = 0, False
while not asked:
    code = lived(after, lambda: Reconciler(db, uri, lambda: now, lambda _pool: None).round())
    if code != -signal.SIGKILL:
        assert code == 0, code
        break
    killed, after = killed + 1, not after
print(killed)
"""


def uri(digest: str) -> str:
    return f"file:///packages/{digest}"


def case(make: Any, row: Transition, at: int) -> Rollout:
    """A rollout that is about to make this move: by the reconciler at once, or by the command."""
    paused = row.start is Phase.PAUSED
    inside = next((p for p in PAUSABLE if row.trigger == "resume" and p is row.to), None) or next(
        (p for p in PAUSABLE if listed(p, row.to, row.trigger)), Phase.SHADOW
    )
    three = make.PLAN.model_copy(update={"steps": (*make.PLAN.steps, Step(canary_bp=5000, hold_s=3600))})
    changes: dict[str, Any] = {"id": f"r{at:02}", "model": f"m{at:02}", "started_at": make.NOW - 1000 + at}
    plan = make.PLAN
    match (row.start, row.to, row.trigger):
        case (Phase.RAMP, Phase.RAMP, _):
            plan = three
        case (Phase.CANARY, Phase.BAKE, "held"):
            plan = plan.model_copy(update={"steps": plan.steps[:1]})
        case (Phase.SHADOW, _, "overdue"):
            plan = plan.model_copy(update={"shadow_hold_s": 100 * 86_400})
        case (_, _, "gate"):
            gated = tuple(step.model_copy(update={"gate": "manual"}) for step in plan.steps)
            plan = plan.model_copy(update={"steps": gated})
        case (_, Phase.PREFLIGHT, "loaded"):
            plan = plan.model_copy(update={"preflight": Preflight()})
        case (Phase.AWAITING_APPROVAL, Phase.RAMP, _):
            changes |= {"step": 1, "canary_bp": 100}
        case (_, _, "cleared"):
            changes |= {"deadline_at": make.NOW - 1}
        case (_, _, "begin"):
            changes |= {"candidate_digest": NOTHING}
        case (_, _, "unloadable"):
            changes |= {"candidate_digest": BROKEN}
    rollout: Rollout = make.rollout(row.start, inside if paused else None, plan=plan, **changes)
    told: dict[str, Any] = {"start": Phase.PENDING, "to": row.start, "why": "the test", "actor": "test"}
    gate = "gate" if (row.start, row.to) == (Phase.AWAITING_APPROVAL, Phase.RAMP) else None
    return replace(rollout, history=(Move(at=make.NOW, event_ms=make.T0, trigger=gate, **told),))


def furnish(db: Database, make: Any, rows: list[tuple[int, Transition]]) -> None:
    """A model with a rollout for each row, with the facts that bring it about."""
    db.migrate()
    evidence, watermarks = [], {}
    with db.write() as session:
        for at, row in rows:
            rollout = case(make, row, at)
            model = put_model(session, make.SLA.model_copy(update={"model": rollout.model}), "default", make.NOW)
            for number in (1, 2, 3):
                manifest = make.manifest("click", note=f"{number}")
                add_version(session, rollout.model, f"digest-{number}", manifest, make.NOW)
            how = {"why": "the test", "actor": "test", "now": make.NOW, "rollout": rollout.id}
            point(session, rollout.model, "stable", 1, **how)
            if rollout.promoted or row.trigger == "overtaken":
                point(session, rollout.model, "previous", 1, **how)
                point(session, rollout.model, "stable", 2, **how)
            values = {field.name: getattr(rollout, field.name) for field in fields(Rollout)}
            active = rollout.model if rollout.running else None
            session.add(
                RolloutRow(**values, active_model=active, sla=model.sla, method=METHOD, reason="", actor="test")
            )
            session.flush()
            publish(session, model, uri)
            if row.trigger == "unfit":
                task = {"label_window_s": 60, "absent": "negative"}
                model.sla = Sla.model_validate({"model": rollout.model, "tasks": {"click": task, "buy": task}})
            verdict = {"violated": "violated", "overdue": "inconclusive"}.get(row.trigger, "satisfied")
            watermarks[rollout.model] = make.T0 + (60 if row.trigger == "overdue" else 30) * make.DAY_MS
            evidence.append(make.evidence(verdict, watermarks[rollout.model], rollout.id, model=rollout.model))
        keep(session, MonitorReport(monitor="m1", watermarks_ms=watermarks, evidence=tuple(evidence)), make.NOW)
        for role in ("front", "candidate", "shadow"):
            loaded = ("digest-1", "digest-2", "digest-3")
            told = ReplicaReport(replica=f"{role}-1", role=role, loaded=loaded, failed={BROKEN: "its own sample"})  # type: ignore[arg-type]
            record(session, "default", WatchRequest(report=told, wait_s=60), make.NOW)


def left(db: Database) -> dict[str, list[Any]]:
    """Everything that a transition leaves behind, the audit log with its seals, epochs and all."""

    def plain(row: Base) -> dict[str, Any]:
        own = (AliasMove.id, NoticeRow.number)  # numbers that a transaction that was killed leaves out
        return {c.key: getattr(row, c.key) for c in row.__table__.columns if c not in {each.expression for each in own}}

    with db.read() as session:
        found = {}
        for table in (RolloutRow, AliasMove, Route, AuditRow, NoticeRow, JobRow):
            query = select(table).order_by(*table.__mapper__.primary_key)
            found[table.__tablename__] = [plain(row) for row in session.scalars(query)]
        return found


def killed(url: str, now: float, asked: list[tuple[str, str, str]]) -> int:
    env = {**os.environ, "PYTHONPATH": str(Path(controller.__file__).parents[1])}
    told = subprocess.run(
        [sys.executable, "-c", CHILD, url, str(now), json.dumps(asked)],
        env=env, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    return int(told.stdout)


@pytest.mark.parametrize("hands", [False, True], ids=["controller", "people"])
def test_every_transition_survives_a_kill_on_either_side_of_its_commit(
    make: Any, database_url: str, tmp_path: Path, *, hands: bool
) -> None:
    rows = [(at, row) for at, row in enumerate(TRANSITIONS) if (row.trigger in BY_HAND) == hands]
    disturbed, calm = Database(database_url), Database(f"sqlite:///{tmp_path / 'calm.db'}")
    furnish(disturbed, make, rows)
    furnish(calm, make, rows)
    asked = [(f"m{at:02}", f"r{at:02}", str(row.trigger)) for at, row in rows] if hands else []

    kills = killed(database_url, make.NOW, asked)

    for model, rollout, command in asked:
        ask = Ask(command, "because", "ann")  # type: ignore[arg-type]
        if command == "superseded":
            with calm.write() as session:
                promote_now(session, model, 3, uri, ask=ask, initial=False, now=make.NOW)
        else:
            advance(calm, rollout, uri, make.NOW, ask=ask)
    if not hands:
        assert kills >= 2 * len(rows)
        Reconciler(calm, uri, lambda: make.NOW, lambda _pool: None).round()
    found, wanted = left(disturbed), left(calm)
    for table, expected in wanted.items():
        assert found[table] == expected, table
    histories = {row["id"]: row["history"] for row in found["rollouts"]}
    for at, row in rows:
        assert (row.start, row.to, row.trigger) in {(m.start, m.to, m.trigger) for m in histories[f"r{at:02}"]}, row
    disturbed.close()
    calm.close()
