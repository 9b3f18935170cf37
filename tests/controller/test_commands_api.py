"""Who may command what, over HTTP; the table as the API gives it."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from sqlalchemy import select

from controller.api import create_app
from controller.rows import lock_model
from controller.services import Services
from controller.store import PackageStore
from controller.tables import AuditRow
from controller.tokens import ensure_tokens
from serinus.rollouts import Plan, Preflight
from serinus.transitions import COMMANDS, TRANSITIONS, WHO

ROLES = ("viewer", "engineer", "operator", "admin", "replica", "monitor")


@pytest.fixture
def client(world: Any, tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of a real server whose reconciler does not run: what a test does is all that happens."""
    tokens = [{"name": r, "role": r, "sha256": hashlib.sha256(f"t-{r}".encode()).hexdigest()} for r in ROLES]
    (tmp_path / "tokens").write_text(json.dumps(tokens))
    ensure_tokens(world.db, tmp_path / "tokens")
    services = Services(world.db, PackageStore(tmp_path / "packages"), lambda: world.now)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_app(services), log_config=None, lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        end = time.monotonic() + 30
        while not server.started:
            assert time.monotonic() < end, "the server did not start"
            time.sleep(0.02)
        with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=30) as client:
            yield client
        server.should_exit = True
        thread.join(timeout=30)
        assert not thread.is_alive()


def by(role: str, **more: str) -> dict[str, str]:
    return {"authorization": f"Bearer t-{role}", **more}


def test_each_command_takes_the_role_that_the_table_says(client: httpx.Client, world: Any) -> None:
    rollout = world.start()
    for command in COMMANDS:
        for role in ROLES:
            may = role == "admin" or role == "operator" or (role == "engineer" and WHO[command] == "engineer")
            if may and command in ("abort", "rollback", "pause"):
                continue  # it would be obeyed; below
            body = {"command": command, "reason": "because"}
            answer = client.post(f"/v1/rollouts/{rollout}/commands", json=body, headers=by(role))
            assert answer.status_code == (409 if may else 403), (role, command, answer.text)
    url = f"/v1/rollouts/{rollout}/commands"
    paused = client.post(url, json={"command": "pause"}, headers=by("engineer"))
    assert (paused.status_code, paused.json()["phase"]) == (200, "paused")
    assert client.post(url, json={"command": "resume"}, headers=by("engineer")).status_code == 403
    resumed = client.post(url, json={"command": "resume"}, headers=by("operator")).json()
    assert resumed["allowed"] == ["pause", "abort", "rollback"]
    assert resumed["history"][-1]["actor"] == "operator"
    assert client.post(url, json={"command": "abort"}, headers=by("engineer")).json()["phase"] == "aborted"


def test_engineers_start_and_queue_and_viewers_do_not(client: httpx.Client) -> None:
    url = "/v1/models/ads/rollouts"
    assert client.post(url, json={"version": 2}, headers=by("viewer")).status_code == 403
    first = client.post(url, json={"version": 2}, headers=by("engineer"))
    assert first.status_code == 201
    assert client.post(url, json={"version": 3}, headers=by("engineer")).status_code == 409
    second = client.post(url, json={"version": 3, "queue": True}, headers=by("engineer")).json()
    assert (second["phase"], second["queued_behind"]) == ("queued", [first.json()["id"]])
    listed = client.get("/v1/rollouts?active=true", headers=by("viewer")).json()["items"]
    assert {each["id"] for each in listed} == {first.json()["id"], second["id"]}
    assert client.get("/v1/rollouts?active=false", headers=by("viewer")).json()["items"] == []


@pytest.fixture
def careful(world: Any) -> Plan:
    """The plan of the SLA, which has a preflight now."""
    with world.db.write() as session:
        row = lock_model(session, "ads")
        plan = row.sla.rollout.model_copy(update={"preflight": Preflight(window_s=86_400)})
        row.sla = row.sla.model_copy(update={"rollout": plan})
    return plan


@pytest.mark.parametrize("how", ["asked", "left out of the plan"])
def test_operators_alone_leave_the_preflight_out_and_say_why(
    client: httpx.Client, world: Any, careful: Plan, how: str
) -> None:
    url, why = "/v1/models/ads/rollouts", "no traffic was logged yet"
    bare = careful.model_copy(update={"preflight": None}).model_dump(mode="json")
    body = {"version": 2, **({"skip_preflight": True} if how == "asked" else {"plan": bare})}
    assert client.post(url, json={**body, "reason": why}, headers=by("engineer")).status_code == 403
    assert client.post(url, json={**body, "reason": " "}, headers=by("operator")).status_code == 400
    started = client.post(url, json={**body, "reason": why}, headers=by("operator"))
    assert started.status_code == 201, started.text
    assert started.json()["plan"]["preflight"] is None
    with world.db.read() as session:
        entry = session.scalars(select(AuditRow).where(AuditRow.action == "rollout.start")).one()
    assert (entry.actor, entry.detail["preflight"], entry.detail["reason"]) == ("operator", "skipped", why)


def test_engineers_bring_plans_that_have_a_preflight(client: httpx.Client, world: Any, careful: Plan) -> None:
    body = {"version": 2, "plan": careful.model_dump(mode="json")}
    started = client.post("/v1/models/ads/rollouts", json=body, headers=by("engineer"))
    assert started.status_code == 201
    assert started.json()["plan"]["preflight"] is not None
    with world.db.read() as session:
        entry = session.scalars(select(AuditRow).where(AuditRow.action == "rollout.start")).one()
    assert "preflight" not in entry.detail


def test_the_table_is_given_as_it_is(client: httpx.Client) -> None:
    told = client.get("/v1/transitions", headers=by("viewer")).json()
    assert told == [row.model_dump(mode="json") for row in TRANSITIONS]


def test_a_command_that_means_another_state_is_not_obeyed(client: httpx.Client, world: Any) -> None:
    rollout = world.start()
    seen = client.get(f"/v1/rollouts/{rollout}", headers=by("viewer")).headers["etag"]
    url = f"/v1/rollouts/{rollout}/commands"
    mine = by("operator", **{"if-match": seen})
    assert client.post(url, json={"command": "pause"}, headers=mine).status_code == 200
    late = client.post(url, json={"command": "abort"}, headers=mine)
    assert late.status_code == 412
    assert client.get(f"/v1/rollouts/{rollout}", headers=by("viewer")).json()["phase"] == "paused"
