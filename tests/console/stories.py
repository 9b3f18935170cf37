"""A database with a week's work in it: models, rollouts in every state with dozens of looks, jobs, alerts, tokens.

Written by the functions that the controller itself uses. Some texts in it are hostile."""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import update

from controller.advance import promote_now, start
from controller.audit import audit
from controller.database import Database
from controller.exchange import keep
from controller.jobs import queue
from controller.registry import add_version, point, put_model
from controller.replicas import record
from controller.rollouts import Ask
from controller.rows import as_rollout, lock_rollout, save
from controller.tables import JobRow, Replica, SlaRow, VersionCardRow
from controller.weights import put_weights
from serinus.evidence import Evidence, HealthAlert, InputEvidence, MonitorReport
from serinus.rollouts import ENDS, Move, Phase, Plan, Step
from serinus.routes import ReplicaReport, WatchRequest
from serinus.sla import Sla
from tests.console.pieces import cells_of, manifest_of, measured_of

HOSTILE = "<script>document.title='gone'</script><img src=x onerror=alert(1)>\" onmouseover=\"alert(2)"
TOKENS = {role: f"{role}-token-of-the-tests" for role in ("viewer", "engineer", "operator", "admin", "monitor")}
HOUR_MS, DAY_S = 3_600_000, 86_400.0


def tokens_file(path: Path) -> Path:
    told = [
        {"name": f"{role}-{'ops' if role != 'viewer' else HOSTILE[:40]}", "role": role, "sha256": sha256(token)}
        for role, token in TOKENS.items()
    ]
    path.write_text(json.dumps(told))
    return path


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sla_of(model: str) -> Sla:
    return Sla.model_validate(
        {
            "model": model,
            "tasks": {
                "click": {"label_window_s": 1800, "absent": "negative"},
                "buy": {"label_window_s": 86_400, "absent": "negative"},
                "rating": {"label_window_s": 3600, "absent": "unlabelled", "kind": "regression"},
            },
            "slices": {"country": ["BR", "DE", "US"]},
            "tick_s": 3600,
        }
    )


class Story:
    """Fills a database; `now`: wall time, Unix seconds."""

    def __init__(self, db: Database, now: float) -> None:
        self.db, self.now = db, now
        self.rollouts: dict[str, str] = {}
        self.jobs: dict[str, str] = {}

    def uri(self, digest: str) -> str:
        return f"file:///packages/{digest}"

    def model(self, name: str, versions: int, *, stable: bool = True) -> None:
        with self.db.write() as session:
            put_model(session, sla_of(name), "default", self.now - 40 * DAY_S)
            if session.get(SlaRow, (name, 1)) is None:
                told = {"sla": sla_of(name), "reason": "the first", "actor": "test", "at": self.now - 40 * DAY_S}
                session.add(SlaRow(model=name, number=1, **told))
            for number in range(1, versions + 1):
                at = self.now - (20 - number) * DAY_S
                digest = sha256(f"{name} {number}")
                add_version(session, name, digest, manifest_of(f"{HOSTILE if number == 3 else name} {number}"), at)
                session.flush()
                if session.get(VersionCardRow, (name, number)) is None:
                    told = {"tags": (HOSTILE, "nightly"), "notes": f"Trained on all of spring.\n{HOSTILE}"}
                    card = {"created_by": "ci", "measured": measured_of(number * 0.004), "imported": None, **told}
                    session.add(VersionCardRow(model=name, number=number, **card))
            if stable:
                ask = Ask("promote", "", "anna")
                promote_now(session, name, 1, self.uri, ask=ask, initial=True, now=self.now - 19 * DAY_S)

    def rollout(
        self,
        model: str,
        phase: Phase,
        *,
        looks: int = 48,
        trend: dict[str, float] | None = None,
        paused_from: Phase | None = None,
        way: tuple[Phase, ...] = (Phase.LOADING, Phase.SHADOW, Phase.CANARY),
        why: str = "the hold is over and every required guard is satisfied",
        dry: Plan | None = None,
        version: int = 2,
    ) -> str:
        """One that came by `way` to `phase`, with so many looks, the last of them an hour ago."""
        plan = dry or Plan(
            steps=(
                Step(canary_bp=100, hold_s=7200),
                Step(canary_bp=1000, hold_s=86_400),
                Step(canary_bp=5000, hold_s=86_400),
            )
        )
        began = self.now - looks * 3600 - 5400
        with self.db.write() as session:
            made = start(session, model, version, plan, why="fresher data", actor="anna", now=began).id
        t0 = int(began * 1000)
        for at in range(looks):
            self.look(model, made, t0, at, looks, trend or {}, version)
        at = paused_from or phase
        step = {Phase.CANARY: 1, Phase.RAMP: 2, Phase.BAKE: 3, Phase.AWAITING_APPROVAL: 2, Phase.ROLLED_BACK: 1}.get(
            at, 0
        )
        ended = phase in ENDS
        with self.db.write() as session:
            _, row = lock_rollout(session, made)
            before = as_rollout(row)
            digest = self.newest.digest if looks else None
            stops = (Phase.PENDING, *way, *((phase,) if phase is not way[-1] else ()))
            gap = (self.now - began) / len(stops)
            history = tuple(
                Move(
                    at=began + gap * place,
                    event_ms=int((began + gap * place) * 1000),
                    start=stops[place - 1],
                    to=to,
                    why=why if place == len(stops) - 1 else "as planned",
                    actor="controller",
                    evidence=digest if place == len(stops) - 1 else None,
                )
                for place, to in enumerate(stops)
                if place
            )
            share = plan.steps[step - 1].canary_bp if step and not ended and at is not Phase.BAKE else 0
            after = replace(
                before,
                phase=phase,
                step=step,
                canary_bp=share,
                shadow_bp=0 if ended else plan.shadow_bp,
                promoted=at in (Phase.BAKE, Phase.DONE),
                paused_from=paused_from,
                paused_event_ms=t0 if paused_from else None,
                started_event_ms=t0,
                since_event_ms=self.newest.tick_ms - 3_600_000 if looks else None,
                expires_at=None if ended else self.now + 86_400,
                verdict=self.newest.verdict if looks else None,
                history=history,
            )
            save(row, after)
        return made

    def look(
        self, model: str, rollout: str, t0: int, at: int, of: int, trend: dict[str, float], version: int = 2
    ) -> None:
        cells = cells_of((at + 1) / of, trend)
        bad = tuple(cell.name for cell in cells if cell.verdict == "violated")
        whole = all(cell.verdict == "satisfied" for cell in cells if cell.role == "required")
        tick = (t0 // HOUR_MS + at + 1) * HOUR_MS
        self.newest = Evidence(
            rollout=rollout,
            model=model,
            baseline=1,
            candidate=version,
            tick_ms=tick,
            watermark_ms=tick,
            first_event_ms=t0,
            e=10 ** (1.35 if bad else -0.8 + 0.9 * (at + 1) / of + 0.1 * math.sin(at)),
            limit=20.0,
            verdict="violated" if bad else "satisfied" if whole else "inconclusive",
            culprits=bad,
            cells=cells,
            counts={"joined": 900 * (at + 1), "late": 3},
            inputs=(InputEvidence(input="weather", check="missing", rows=4_000, value=0.02, limit=0.05, holds=False),),
        )
        report = MonitorReport(monitor="m1", watermarks_ms={model: tick}, evidence=(self.newest,))
        with self.db.write() as session:
            keep(session, report, self.now)

    def job(self, model: str, kind: Any, **changes: Any) -> str:
        with self.db.write() as session:
            made = queue(session, kind, model, {}, actor=f"bo {HOSTILE}", now=self.now - 7200)
            row = session.get(JobRow, made)
            assert row is not None
            for name, value in changes.items():
                setattr(row, name, value)
        return made

    def fill(self) -> None:
        for name, versions in (("ads", 4), ("search", 3), ("feed", 3), ("mail", 2), ("maps", 2)):
            self.model(name, versions)
        self.model("fresh", 2, stable=False)
        for number in range(8):
            self.model(f"other-{number}", 1)
        with self.db.write() as session:
            for role in ("front", "candidate", "shadow"):
                loaded = tuple(sha256(f"{m} {n}") for m in ("ads", "feed", "mail", "maps") for n in (1, 2))
                report = ReplicaReport(
                    replica=f"{role}-1", role=role, loaded=loaded, fetched=loaded, failed={"f" * 64: HOSTILE}
                )
                record(session, "default", WatchRequest(report=report, wait_s=60), self.now)
            session.execute(update(Replica).values(expires_at=self.now + 3600))
        bad = {"click / overall / auc": 3.2, "click / country=BR / auc": 5.0, "buy / overall / calibration": 0.7}
        self.rollouts["violated"] = self.rollout(
            "search", Phase.ROLLED_BACK, trend=bad, why=f"violated: click / overall / auc {HOSTILE}"
        )
        self.rollouts["canary"] = self.rollout(
            "ads", Phase.CANARY, trend={"click / country=BR / auc": 0.9, "buy / overall / auc": 0.4}, why="as planned"
        )
        self.rollouts["paused"] = self.rollout(
            "feed",
            Phase.PAUSED,
            paused_from=Phase.CANARY,
            way=(Phase.LOADING, Phase.SHADOW, Phase.CANARY),
            why=f"pause: {HOSTILE}",
            looks=12,
        )
        self.rollouts["gate"] = self.rollout(
            "mail",
            Phase.AWAITING_APPROVAL,
            way=(Phase.LOADING, Phase.SHADOW, Phase.CANARY, Phase.RAMP),
            why="max_duration_s is over; undecided: buy / overall / auc (820 more labels are needed)",
            looks=30,
        )
        with self.db.write() as session:
            queued = start(session, "ads", 3, None, why=HOSTILE, actor="bo", now=self.now - 600, queue=True)
            self.rollouts["queued"] = queued.id
            put_weights(session, "ads", {"click": 1.0, "buy": 2.5}, reason=HOSTILE, actor="bo", now=self.now - 9000)
            point(session, "ads", "nightly", 4, why=HOSTILE, actor="bo", now=self.now - 5000, rollout=None)
            audit(session, actor=HOSTILE, action="token.make", subject="tokens/bo", detail={"x": HOSTILE}, now=self.now)
        alerts = (
            HealthAlert(key="a", model="ads", kind="input", input="weather", text=f"weather is stale {HOSTILE}"),
            HealthAlert(key="b", model="maps", kind="health", task="buy", slice="overall", text="AUC fell by 0.06"),
        )
        with self.db.write() as session:
            keep(session, MonitorReport(monitor="m1", alerts=alerts), self.now - 3000)
            keep(session, MonitorReport(monitor="m1", alerts=alerts[:1]), self.now)
        promotion = {"days": [5.2, 9.0], "least_days": 3, "waits_for": "buy / overall / auc"}
        ended = {"state": "done", "progress": 1.0, "ended_at": self.now - 3600}
        self.jobs["plan"] = self.job("ads", "plan", result={"promotion": promotion}, **ended)
        self.jobs["running"] = self.job(
            "ads",
            "backtest",
            state="running",
            progress=0.42,
            said="day 3 of 7",
            worker="m9",
            lease_until=self.now + 9e4,
        )
        self.jobs["failed"] = self.job(
            "maps", "backtest", state="failed", progress=0.1, said=f"no traffic {HOSTILE}", ended_at=self.now - 60
        )


def made(url: str) -> Story:
    """A filled database at this URL."""
    db = Database(url)
    db.migrate()
    story = Story(db, time.time())
    story.fill()
    db.close()
    return story
