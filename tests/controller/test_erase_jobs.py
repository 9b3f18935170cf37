"""To erase an entity: for admins alone, written down, and the entity is named to nobody but the monitor."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from controller import jobs
from controller.api import create_app
from controller.services import Services
from controller.store import PackageStore
from controller.tables import AuditRow, JobRow, Token
from serinus.jobs import JobReport

ENTITY = "ann@example.org"
SHA = hashlib.sha256(ENTITY.encode()).hexdigest()
ASK = {"kind": "erase", "model": "ads", "params": {"entity": ENTITY, "wait_s": 60}}


class Api:
    """Requests to the application, without a server between."""

    def __init__(self, services: Services) -> None:
        self._app = create_app(services)

    def send(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def sent() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://controller") as client:
                return await client.request(method, path, **more)

        return asyncio.run(sent())

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.send("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.send("POST", path, **more)


@pytest.fixture
def api(world: Any, tmp_path: Path) -> Api:
    with world.db.write() as session:
        for role in ("admin", "engineer", "monitor"):
            digest = hashlib.sha256(f"{role}-token".encode()).hexdigest()
            session.add(Token(name=role, role=role, sha256=digest))
    return Api(Services(world.db, PackageStore(tmp_path)))


def bearer(role: str) -> dict[str, str]:
    return {"authorization": f"Bearer {role}-token"}


def test_an_entity_is_erased_by_admins_and_named_to_the_monitor_alone(api: Api, world: Any) -> None:
    refused = api.post("/v1/jobs", json=ASK, headers=bearer("engineer"))
    assert refused.status_code == 403
    asked = api.post("/v1/jobs", json=ASK, headers=bearer("admin"))
    assert asked.status_code == 201
    where = f"/v1/jobs/{asked.json()['id']}"
    shown = api.get(where, headers=bearer("engineer"))
    assert shown.json()["params"] == {"entity_sha256": SHA, "wait_s": 60.0}
    exchange = {"monitor": "m", "free": True}
    taken = api.post("/v1/monitor/exchange", json=exchange, headers=bearer("monitor")).json()["jobs"]
    assert [job["params"]["entity"] for job in taken] == [ENTITY]
    exchange["jobs"] = [{"id": taken[0]["id"], "state": "done", "progress": 1.0, "result": {"rows": {"labels": 2}}}]
    api.post("/v1/monitor/exchange", json=exchange, headers=bearer("monitor"))
    ended = api.get(where, headers=bearer("engineer"))
    assert (ended.json()["state"], ended.json()["result"]) == ("done", {"rows": {"labels": 2}})
    assert not any(ENTITY in answer.text for answer in (refused, asked, shown, ended))
    with world.db.read() as session:
        (kept,) = session.scalars(select(JobRow).where(JobRow.kind == "erase"))
        assert kept.params == {"entity_sha256": SHA, "wait_s": 60.0}
        (entry,) = session.scalars(select(AuditRow).where(AuditRow.action == "logs.erase"))
    assert (entry.actor, entry.subject, entry.detail["entity_sha256"]) == ("admin", "models/ads", SHA)
    assert ENTITY not in json.dumps(entry.detail)


def test_an_erasure_is_cancelled_by_admins_alone(api: Api, world: Any) -> None:
    made = api.post("/v1/jobs", json=ASK, headers=bearer("admin")).json()["id"]
    assert api.post(f"/v1/jobs/{made}/cancel", headers=bearer("engineer")).status_code == 403
    assert api.get(f"/v1/jobs/{made}", headers=bearer("engineer")).json()["state"] == "queued"
    assert api.post(f"/v1/jobs/{made}/cancel", headers=bearer("admin")).json()["state"] == "cancelled"
    with world.db.write() as session:
        other = jobs.queue(session, "backtest", "ads", {}, actor="ann", now=world.now)
    assert api.post(f"/v1/jobs/{other}/cancel", headers=bearer("engineer")).json()["state"] == "cancelled"


@pytest.mark.parametrize("params", [{}, {"entity": ""}, {"entity": 7}, {"entity": "x", "more": 1}])
def test_parameters_that_are_none_are_refused(api: Api, world: Any, params: dict[str, Any]) -> None:
    said = api.post("/v1/jobs", json={**ASK, "params": params}, headers=bearer("admin"))
    assert said.status_code == 400
    with world.db.read() as session:
        assert not session.scalars(select(JobRow)).all()


def test_a_cancelled_one_forgets_the_entity_too_and_a_running_one_gives_way_to_a_preflight(world: Any) -> None:
    def ask(kind: Any) -> str:
        with world.db.write() as session:
            return jobs.queue(session, kind, "ads", {"entity": ENTITY}, actor="ann", now=world.now)

    def exchange(*reports: JobReport) -> list[str]:
        with world.db.write() as session:
            jobs.take_in(session, "m", reports, world.now)
            return [job.kind for job in jobs.hand_out(session, "m", free=not reports, now=world.now)]

    erase = ask("erase")
    assert exchange() == ["erase"]
    ask("preflight")
    world.now += jobs.PATIENCE_S + 1
    assert exchange(JobReport(id=erase, progress=0.5)) == []
    assert exchange() == ["preflight"]
    with world.db.write() as session:
        jobs.cancel(session, erase, actor="ann", now=world.now)
        assert session.get_one(JobRow, erase).params == {"entity_sha256": SHA}
