"""Rollouts, evidence, packages and databases (SQLite, and a real PostgreSQL) for the controller's tests."""

from __future__ import annotations

import glob
import io
import os
import pwd
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx.helper
import onnx.parser
import pytest
import sqlalchemy

from controller.advance import promote_now, start
from controller.database import Database
from controller.exchange import keep
from controller.reconciler import Reconciler
from controller.registry import add_version, put_model
from controller.replicas import record
from controller.rollouts import Ask, Facts, Rollout
from serinus.evidence import CellEvidence, Evidence, MonitorReport, Verdict
from serinus.jobs import Job
from serinus.package import Manifest, write_manifest
from serinus.preflights import PreflightResult
from serinus.rollouts import Move, Phase, Plan, Preflight, Step
from serinus.routes import ReplicaReport, WatchRequest
from serinus.sla import Sla

NOW = 1_700_000_000.0
DAY_MS = 86_400_000
T0 = 1_600_000_000_000  # event time at which shadow traffic begins, ms
PLAN = Plan(
    shadow_hold_s=3600,
    steps=(Step(canary_bp=100, hold_s=3600), Step(canary_bp=1000, hold_s=7200)),
    cycle_s=86_400,
    bake_s=3600,
    max_duration_s=60 * 86_400,
)
HASTY = Plan(
    shadow_hold_s=0,
    steps=(Step(canary_bp=100, hold_s=0), Step(canary_bp=1000, hold_s=0)),
    cycle_s=0,
    bake_s=0,
)
SLA = Sla.model_validate({"model": "ads", "tasks": {"click": {"label_window_s": 60, "absent": "negative"}}})
ROLES = ("front", "candidate", "shadow")


def manifest_of(*tasks: str, note: str = "") -> Manifest:
    """A manifest that says the least: one part a task."""
    files = {f"parts/{task}.onnx": {"sha256": "0" * 64, "size_bytes": 1} for task in tasks}
    files |= {name: {"sha256": "0" * 64, "size_bytes": 1} for name in ("sample.json", "baseline.json")}
    parts = [
        {"name": t, "role": "head", "file": f"parts/{t}.onnx", "inputs": ["x"], "outputs": [f"{t}_p"]} for t in tasks
    ]
    told = {
        "inputs": [{"name": "x", "datatype": "FP32"}],
        "parts": parts,
        "tasks": [{"name": t, "kind": "binary", "output": f"{t}_p", "base_rate": 0.1} for t in tasks],
        "provenance": {"note": note},
        "files": files,
    }
    return Manifest.model_validate(told)


def evidence_of(
    verdict: str = "satisfied", at_ms: int = T0 + 30 * DAY_MS, rollout: str = "r1", **changes: Any
) -> Evidence:
    """A look at tick `at_ms` with one required cell; its numbers are those of the verdict."""
    bad = verdict == "violated"
    cell = CellEvidence(
        stream="shadow",
        task="click",
        slice="overall",
        metric="auc",
        role="required",
        weight=1.0,
        margin=0.01,
        estimate=0.0312 if bad else 0.001,
        low=0.011 if bad else -0.002,
        high=0.052 if bad else 0.004,
        e_violated=23.5 if bad else 0.1,
        e_satisfied=0.0 if bad else 50.0,
        verdict=Verdict[verdict.upper()].word,
        baseline_value=0.8,
        candidate_value=0.79,
        labels=12_345,
        positives=678,
        groups=90,
        why="the label source is silent" if verdict == "error" else "",
    )
    told: dict[str, Any] = {
        "rollout": rollout,
        "model": "ads",
        "baseline": 1,
        "candidate": 2,
        "tick_ms": at_ms,
        "watermark_ms": at_ms,
        "first_event_ms": T0,
        "e": 23.5 if bad else 0.1,
        "limit": 20.0,
        "verdict": verdict,
        "culprits": (cell.name,) if bad else (),
        "cells": (cell,),
    }
    return Evidence.model_validate({**told, **changes})


def replicas_of(loaded: tuple[str, ...] = ("digest-2",)) -> tuple[ReplicaReport, ...]:
    return tuple(ReplicaReport(replica=f"{role}-1", role=role, loaded=loaded) for role in ROLES)  # type: ignore[arg-type]


def facts_of(verdict: str | None = "satisfied", at_ms: int = T0 + 30 * DAY_MS, **changes: Any) -> Facts:
    """Facts by which every gate is open, if the verdict lets it."""
    known = Facts(
        evidence=evidence_of(verdict, at_ms) if verdict else None,
        watermark_ms=at_ms,
        replicas=replicas_of(),
        monitor_seen_at=NOW,
    )
    return replace(known, **changes)


def preflight_of(state: str | None = "done", verdict: str | None = "inconclusive", **changes: Any) -> dict[str, Any]:
    """The facts of a preflight: its job and, where that is done, what it found. No `state`: it was never queued."""
    if state is None:
        return {"preflight": None, "replay": None}
    job = Job(id="preflight-r1", kind="preflight", model="ads", state=state, progress=0.5, said="day 3 of 7")  # type: ignore[arg-type]
    if state != "done":
        return {"preflight": job, "replay": None}
    evidence = None
    if verdict:
        told = evidence_of(verdict, T0 - DAY_MS, limit=100.0, e=123.0 if verdict == "violated" else 0.2)
        cells = tuple(cell.model_copy(update={"stream": "replay"}) for cell in told.cells)
        evidence = told.model_copy(update={"cells": cells})
    found = {"evidence": evidence, "requests": 5_000, "with_inputs": 1_000, "rows": 900, **changes}
    return {"preflight": job, "replay": PreflightResult.model_validate(found)}


def rollout_in(phase: Phase, paused_from: Phase | None = None, plan: Plan = PLAN, **changes: Any) -> Rollout:
    """A rollout in that phase, with shares, step and clocks as they are there; begun at T0."""
    at = paused_from or phase
    step = {Phase.CANARY: 1, Phase.RAMP: 2, Phase.BAKE: 2, Phase.DONE: 2}.get(at, 0)
    early = at in (Phase.QUEUED, Phase.PENDING, Phase.LOADING, Phase.PREFLIGHT)
    if at is Phase.PREFLIGHT and plan.preflight is None:
        plan = plan.model_copy(update={"preflight": Preflight()})
    ended = phase in (Phase.DONE, Phase.ROLLED_BACK, Phase.ABORTED, Phase.SUPERSEDED)
    shares = not early and not ended
    rollout = Rollout(
        id="r1",
        model="ads",
        candidate=2,
        candidate_digest="digest-2",
        baseline=1,
        plan=plan,
        started_at=NOW - 100,
        phase=phase,
        step=step,
        canary_bp=plan.steps[step - 1].canary_bp if shares and step and at is not Phase.BAKE else 0,
        shadow_bp=plan.shadow_bp if shares else 0,
        promoted=at in (Phase.BAKE, Phase.DONE),
        paused_from=paused_from,
        paused_event_ms=T0 if paused_from else None,
        started_event_ms=None if early else T0,
        since_event_ms=None if early else T0,
        deadline_at=NOW + 100 if at in (Phase.LOADING, Phase.PREFLIGHT) else None,
        expires_at=NOW + 500 if shares else None,
        history=(Move(at=NOW, event_ms=T0, start=Phase.PENDING, to=phase, why="the test", actor="test"),),
    )
    return replace(rollout, **changes)


class Make:
    """What tests build their cases from."""

    NOW, T0, DAY_MS, PLAN, HASTY, SLA = NOW, T0, DAY_MS, PLAN, HASTY, SLA
    manifest = staticmethod(manifest_of)
    evidence = staticmethod(evidence_of)
    replicas = staticmethod(replicas_of)
    facts = staticmethod(facts_of)
    rollout = staticmethod(rollout_in)
    preflight = staticmethod(preflight_of)


@pytest.fixture(scope="session")
def make() -> type[Make]:
    return Make


@dataclass
class World:
    """A database with model `ads`, version 1 stable, version 2 pushed; and the clock."""

    db: Database
    now: float = NOW
    digests: dict[int, str] = field(default_factory=lambda: {1: "digest-1", 2: "digest-2", 3: "digest-3"})

    hasty: Plan = HASTY

    def uri(self, digest: str) -> str:
        return f"file:///packages/{digest}"

    def populate(self) -> None:
        with self.db.write() as session:
            put_model(session, SLA, "default", self.now)
            for number in (1, 2, 3):
                add_version(session, "ads", self.digests[number], manifest_of("click", note=str(number)), self.now)
            ask = Ask("promote", "", "test")
            promote_now(session, "ads", 1, self.uri, ask=ask, initial=True, now=self.now)

    def replicas(self, *loaded: int, wait_s: float = 60.0, failed: dict[str, str] | None = None) -> None:
        """Each role has one replica, which holds these versions."""
        for role in ROLES:
            told = {
                "replica": f"{role}-1",
                "role": role,
                "loaded": [self.digests[n] for n in loaded],
                "failed": failed or {},
            }
            report = ReplicaReport.model_validate(told)
            with self.db.write() as session:
                record(session, "default", WatchRequest(report=report, wait_s=wait_s), self.now)

    def start(self, version: int = 2, plan: Plan = HASTY, why: str = "the test", *, queue: bool = False) -> str:
        with self.db.write() as session:
            return start(session, "ads", version, plan, why=why, actor="test", now=self.now, queue=queue).id

    def look(self, rollout: str, verdict: str = "satisfied", at_ms: int = T0 + DAY_MS, **changes: Any) -> None:
        """A monitor brings evidence, and that tick as the watermark."""
        evidence = evidence_of(verdict, at_ms, rollout, **changes)
        report = MonitorReport(monitor="m1", watermarks_ms={"ads": at_ms}, evidence=(evidence,))
        with self.db.write() as session:
            keep(session, report, self.now)

    def reconciler(self) -> Reconciler:
        return Reconciler(self.db, self.uri, lambda: self.now, lambda _pool: None)


def _binaries() -> str | None:
    """The folder of initdb and pg_ctl."""
    for folder in [*sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)]:
        if os.path.exists(f"{folder}/initdb"):
            return folder
    found = shutil.which("initdb")
    return os.path.dirname(os.path.realpath(found)) if found else None


def _as_who() -> dict[str, Any]:
    """PostgreSQL refuses to be run by root."""
    if os.getuid():
        return {}
    known = {user.pw_name: user for user in pwd.getpwall()}
    user = known.get("postgres") or known["nobody"]
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@dataclass
class Postgres:
    """A PostgreSQL server of our own, on a Unix socket in `home`."""

    folder: str
    home: str
    who: dict[str, Any]

    @property
    def url(self) -> str:
        """{} stands for the name of the database."""
        return f"postgresql+psycopg://serinus@/{{}}?host={self.home}"

    def run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [f"{self.folder}/{program}", *arguments],
            **self.who,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def init(self) -> None:
        self.run("initdb", "-D", f"{self.home}/data", "-U", "serinus", "-A", "trust", "-E", "UTF8", "--no-sync")

    def start(self) -> None:
        settings = f"-k {self.home} -c listen_addresses='' -c fsync=off"
        self.run("pg_ctl", "-D", f"{self.home}/data", "-l", f"{self.home}/log", "-w", "-o", settings, "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-D", f"{self.home}/data", "-m", "immediate", "-w", "stop")

    def execute(self, *lines: str, database: str = "postgres") -> None:
        engine = sqlalchemy.create_engine(self.url.format(database), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for line in lines:
                for each in line.split(";"):
                    connection.exec_driver_sql(each)
        engine.dispose()


@contextmanager
def _a_postgres() -> Iterator[Postgres]:
    folder = _binaries()
    if folder is None:
        pytest.fail("PostgreSQL's initdb is not here: install it (apt-get install postgresql)")
    home, who = tempfile.mkdtemp(prefix="serinus-pg-", dir="/tmp"), _as_who()
    if who:
        os.chown(home, who["user"], who["group"])
    server = Postgres(folder, home, who)
    try:
        server.init()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a PostgreSQL server of our own, on a Unix socket; {} stands for the name of the database."""
    with _a_postgres() as server:
        yield server.url


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A server that this test alone uses, and may stop and start."""
    with _a_postgres() as server:
        yield server


@pytest.fixture
def world_of() -> Iterator[Callable[[str], World]]:
    """The world of `world`, in the database `postgres` of a server."""
    made: list[Database] = []

    def make(url: str) -> World:
        made.append(Database(url.format("postgres")))
        made[-1].migrate()
        world = World(made[-1])
        world.populate()
        return world

    yield make
    for db in made:
        db.close()


BACKENDS = ("sqlite", "postgresql") if _binaries() or os.environ.get("CI") else ("sqlite",)


@pytest.fixture(params=BACKENDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database on each backend. In CI PostgreSQL must be there."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'controller.db'}"
    server = request.getfixturevalue("postgres")
    name = f"t{abs(hash(request.node.nodeid)):x}"
    engine = sqlalchemy.create_engine(server.format("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"drop database if exists {name}")
        connection.exec_driver_sql(f"create database {name}")
    engine.dispose()
    return str(server.format(name))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    db = Database(database_url)
    db.migrate()
    yield db
    db.close()


@pytest.fixture
def world(database: Database) -> World:
    """`ads` with version 1 stable and version 2, 3 to be rolled out, on each backend."""
    made = World(database)
    made.populate()
    return made


@pytest.fixture
def build() -> Callable[..., Path]:
    """Writes a package that is right, with real graphs: build(folder, "click", note="a", weight="1.0")."""

    def make(folder: Path, *tasks: str, note: str = "", weight: str = "1.0") -> Path:
        (folder / "parts").mkdir(parents=True)
        header = '<ir_version: 8, opset_import: ["" : 17]>\n'
        for task in tasks:
            graph = (
                f"h (float[n] x) => (float[n] {task}_p) <float w = {{1.0}}> {{ y = Mul(x, w) {task}_p = Sigmoid(y) }}"
            )
            model = onnx.parser.parse_model(header + graph)
            model.graph.initializer[0].CopyFrom(onnx.helper.make_tensor("w", 1, [], [float(weight)]))
            (folder / f"parts/{task}.onnx").write_bytes(model.SerializeToString())
        half = {key: [0.5, 0.5] for key in tasks}
        (folder / "sample.json").write_text(f'{{"inputs": {{"x": [0.0, 0.0]}}, "outputs": {half!r}}}'.replace("'", '"'))
        scores = {key: {"auc": 0.7} for key in tasks}
        (folder / "baseline.json").write_text(f'{{"tasks": {scores!r}}}'.replace("'", '"'))
        told = manifest_of(*tasks, note=note).model_dump(mode="json")
        write_manifest(folder, told)
        return folder

    return make


@pytest.fixture
def tar_of() -> Callable[[Path], bytes]:
    """The tar of a folder's files."""

    def pack(folder: Path) -> bytes:
        held = io.BytesIO()
        with tarfile.open(fileobj=held, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    archive.add(path, path.relative_to(folder).as_posix())
        return held.getvalue()

    return pack
