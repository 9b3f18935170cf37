"""The API as its callers meet it: roles, problems, bounded bodies, pushes, the long poll."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from sqlalchemy import text

from controller.api import create_app
from controller.auth import require_tokens
from controller.database import Database
from controller.limits import Buckets
from controller.services import Services
from controller.store import PackageStore
from controller.tokens import ensure_tokens
from serinus.errors import BadInput, from_problem
from serinus.evidence import Evidence, MonitorReport

SLA = {"model": "ads", "tasks": {"click": {"label_window_s": 60, "absent": "negative"}}}
TAR = {"content-type": "application/x-tar"}


def until(condition: Callable[[], Any], what: str, timeout_s: float = 20.0) -> Any:
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {timeout_s} s for {what}"
        time.sleep(0.02)
    return found


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    db = Database(f"sqlite:///{tmp_path / 'controller.db'}")
    db.migrate()
    tokens = [
        {"name": role, "role": role, "sha256": hashlib.sha256(f"{role}-token".encode()).hexdigest()}
        for role in ("admin", "replica", "monitor")
    ]
    (tmp_path / "tokens.json").write_text(json.dumps(tokens))
    ensure_tokens(db, tmp_path / "tokens.json")
    yield Services(db, PackageStore(tmp_path / "packages"))
    db.close()


@pytest.fixture
def api(services: Services) -> Iterator[httpx.Client]:
    """A client of a real server in a thread of ours, with the admin's token."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(create_app(services), log_config=None, lifespan="on", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        until(lambda: server.started, "the server")
        headers = {"authorization": "Bearer admin-token"}
        port = listener.getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=90) as client:
            yield client
        server.should_exit = True
        thread.join(timeout=30)
        assert not thread.is_alive()


@pytest.fixture
def push(api: httpx.Client, tmp_path: Path, build: Callable[..., Path], tar_of: Callable[[Path], bytes]) -> Any:
    """push(note) -> the answer."""
    api.put("/v1/models/ads", json={"sla": SLA}).raise_for_status()

    def push(note: str, *tasks: str) -> Any:
        folder = build(tmp_path / f"sent-{note}", *(tasks or ("click",)), note=note)
        return api.post("/v1/models/ads/versions", content=tar_of(folder), headers=TAR)

    return push


def report(role: str, *loaded: str, known: dict[str, int] | None = None, wait_s: float = 0) -> dict[str, Any]:
    return {
        "report": {"replica": f"{role}-1", "role": role, "loaded": loaded},
        "known": known or {},
        "wait_s": wait_s,
    }


REPLICA = {"authorization": "Bearer replica-token"}
MONITOR = {"authorization": "Bearer monitor-token"}


def test_who_may_do_what(api: httpx.Client) -> None:
    doors = {
        "replica": ("/v1/pools/default/watch", report("front")),
        "monitor": ("/v1/monitor/exchange", {"monitor": "m"}),
        "admin": ("/v1/models/ads/promote", {"version": 1}),
    }
    for door, (path, body) in doors.items():
        for role in doors:
            answer = api.post(path, json=body, headers={"authorization": f"Bearer {role}-token"})
            may = role in (door, "admin")
            assert answer.status_code == ((404 if door == "admin" else 200) if may else 403), (door, role)
        for header in ("Bearer nonsense", "Basic admin-token", ""):
            answer = api.post(path, json=body, headers={"authorization": header})
            assert (answer.status_code, answer.json()["title"]) == (401, "Unauthenticated")
            assert answer.headers["www-authenticate"] == "Bearer"


def test_every_route_but_health_needs_a_token(api: httpx.Client, services: Services) -> None:
    services.door.failed = Buckets(0, 0)
    del api.headers["authorization"]
    paths = api.get("/openapi.json").json()["paths"]
    for path, methods in paths.items():
        for method in methods:
            where = path.replace("{model}", "ads").replace("{rollout_id}", "r").replace("{pool}", "default")
            where = where.replace("{job_id}", "j")
            expected = 200 if path in ("/healthz", "/readyz") else 401
            assert api.request(method, where, json={}).status_code in (expected, 400), (method, path)
            assert expected == 200 or api.request(method, where).status_code in (401, 400)


def test_tokens_are_stored_only_as_their_hash(api: httpx.Client, tmp_path: Path) -> None:
    api.get("/v1/status").raise_for_status()
    files = b"".join(path.read_bytes() for path in tmp_path.glob("controller.db*"))
    assert b"admin-token" not in files
    assert hashlib.sha256(b"admin-token").hexdigest().encode() in files


def test_a_token_that_left_the_file_is_no_longer_good(api: httpx.Client, services: Services, tmp_path: Path) -> None:
    tokens = json.loads((tmp_path / "tokens.json").read_text())
    (tmp_path / "tokens.json").write_text(json.dumps(tokens[:1]))
    ensure_tokens(services.db, tmp_path / "tokens.json")
    assert api.post("/v1/monitor/exchange", json={"monitor": "m"}, headers=MONITOR).status_code == 401
    for nonsense in ("[]", "{", '[{"name": "a", "role": "king", "sha256": "x"}]'):
        (tmp_path / "tokens.json").write_text(nonsense)
        with pytest.raises(BadInput, match="SERINUS_TOKENS_FILE"):
            ensure_tokens(services.db, tmp_path / "tokens.json")


def test_without_tokens_it_serves_only_this_machine(services: Services) -> None:
    with services.db.write() as session:
        session.execute(text("delete from tokens"))
    require_tokens(services.db, loopback=True)
    with pytest.raises(BadInput, match="no token is known"):
        require_tokens(services.db, loopback=False)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("GET", "/v1/models/nope", None, 404, "nope"),
        ("GET", "/v1/rollouts/nope", None, 404, "nope"),
        ("GET", "/v1/nothing", None, 404, "Not Found"),
        ("DELETE", "/v1/models", None, 405, "Method Not Allowed"),
        ("GET", "/v1/models/UPPER", None, 400, "path.model"),
        ("PUT", "/v1/models/ads", {"sla": {**SLA, "model": "other"}}, 400, "the URL says 'ads'"),
        ("PUT", "/v1/models/ads", {"sla": {**SLA, "tick_s": 7}}, 422, "tick_s"),
        ("PUT", "/v1/models/ads", {"sla": SLA, "pol": "x"}, 400, "body.pol"),
        ("POST", "/v1/models/ads/rollouts", {"version": 0}, 400, "body.version"),
        ("GET", "/v1/models/nope/weights", None, 404, "nope"),
        ("PUT", "/v1/models/ads/weights", {"weights": {"click": 101}}, 400, "body.weights.click"),
        ("POST", "/v1/rollouts/x/commands", {"command": "dance"}, 400, "body.command"),
    ],
)  # fmt: skip
def test_errors_are_problems_that_say_what_was_expected(
    api: httpx.Client, method: str, path: str, body: Any, status: int, words: str
) -> None:
    answer = api.request(method, path, json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    problem = answer.json()
    assert words in problem["detail"]
    assert problem["status"] == status
    assert problem["hint"]
    assert type(from_problem(problem)).__name__ == problem["title"]


def test_a_body_that_is_not_json_and_one_that_is_too_large(api: httpx.Client) -> None:
    assert api.put("/v1/models/ads", content=b"{").status_code == 400
    answer = api.put("/v1/models/ads", content=b"x" * ((1 << 20) + 1))
    assert (answer.status_code, answer.json()["title"]) == (413, "TooLarge")
    pieces = (b"x" * 100_000 for _ in range(20))  # without a content-length
    assert api.put("/v1/models/ads", content=pieces).status_code == 413


def test_a_pushed_package_is_numbered_and_pushed_again_is_the_same(push: Any, api: httpx.Client) -> None:
    first, again, second = push("a"), None, push("b")
    again = api.post("/v1/models/ads/versions", content=first.request.content, headers=TAR)
    assert [answer.status_code for answer in (first, again, second)] == [201, 201, 201]
    assert first.json() == {**again.json(), "created": True}
    assert (again.json()["created"], second.json()["version"]) == (False, 2)
    listed = api.get("/v1/models/ads/versions").json()["items"]
    assert [(row["version"], row["tasks"], row["provenance"]) for row in listed] == [
        (1, ["click"], {"note": "a"}),
        (2, ["click"], {"note": "b"}),
    ]


@pytest.mark.parametrize("fault", ["altered", "missing", "nan", "task", "unknown kind"])
def test_a_package_that_is_refused_leaves_nothing(
    fault: str, push: Any, api: httpx.Client, services: Services, tmp_path: Path, build: Any, tar_of: Any
) -> None:
    folder = build(tmp_path / "bad", "buy" if fault == "task" else "click", weight="nan" if fault == "nan" else "1.0")
    if fault == "altered":
        (folder / "parts/click.onnx").write_bytes((folder / "parts/click.onnx").read_bytes() + b"\x00")
    if fault == "missing":
        (folder / "parts/click.onnx").unlink()
    if fault == "unknown kind":
        told = json.loads((folder / "manifest.json").read_text())
        told["tasks"][0]["kind"] = "telepathy"
        (folder / "manifest.json").write_text(json.dumps(told))
    answer = api.post("/v1/models/ads/versions", content=tar_of(folder), headers=TAR)
    assert (answer.status_code, answer.json()["title"]) == (422, "InvalidPackage")
    words = {"altered": "altered", "missing": "missing", "nan": "NaN", "task": "'click'", "unknown kind": "kind"}
    assert words[fault].lower() in answer.json()["detail"].lower()
    assert api.get("/v1/models/ads/versions").json() == {"items": [], "next": None}
    assert [path.name for path in services.store.root.rglob("*")] == [".incoming"]


def test_a_push_for_an_unknown_model_is_refused_before_it_is_read(api: httpx.Client) -> None:
    assert api.post("/v1/models/nope/versions", content=b"x", headers=TAR).status_code == 404


def watch(api: httpx.Client, body: dict[str, Any]) -> Any:
    answer = api.post("/v1/pools/default/watch", json=body, headers=REPLICA)
    answer.raise_for_status()
    return answer.json()


def test_the_long_poll_wakes_at_a_change_and_else_answers_at_its_end(push: Any, api: httpx.Client) -> None:
    push("a")
    assert watch(api, report("front", wait_s=0.05)) == {"tables": [], "models": []}
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(watch, api, report(role, wait_s=60)) for role in ("front", "shadow")]
        until(lambda: len(api.get("/v1/status").json()["replicas"]) == 2, "both replicas")
        api.post("/v1/models/ads/promote", json={"version": 1, "initial": True}).raise_for_status()
        tables = [each.result(timeout=30)["tables"] for each in waiting]  # long before the end of their wait
    assert [[(table["epoch"], table["stable"]) for table in each] for each in tables] == [[(1, {"click": 1})]] * 2
    assert watch(api, report("front", known={"ads": 1}))["tables"] == []


def test_a_rollout_goes_from_push_to_done_over_the_api(push: Any, api: httpx.Client, make: Any) -> None:
    digests = [push(note).json()["digest"] for note in ("a", "b")]
    api.post("/v1/models/ads/promote", json={"version": 1, "initial": True}).raise_for_status()
    body = {"version": 2, "plan": make.HASTY.model_dump(), "reason": "better", "actor": "ann"}
    started = api.post("/v1/models/ads/rollouts", json=body)
    assert started.status_code == 201
    rollout = started.json()["id"]
    twice = api.post("/v1/models/ads/rollouts", json=body)
    assert (twice.status_code, twice.json()["title"]) == (409, "AlreadyActive")
    for role in ("front", "candidate", "shadow"):
        watch(api, report(role, *digests, wait_s=0))
    until(lambda: api.get(f"/v1/rollouts/{rollout}").json()["phase"] == "shadow", "shadow")

    def work() -> list[str]:
        said = {"monitor": "m", "watermarks_ms": {"ads": make.T0}}
        found = api.post("/v1/monitor/exchange", json=said, headers=MONITOR).json()
        return [item["rollout"] for item in found["rollouts"]]

    assert until(work, "work for the monitor") == [rollout]
    sent = MonitorReport(
        monitor="m",
        watermarks_ms={"ads": make.T0},
        evidence=(make.evidence("satisfied", make.T0, rollout, e=0.25),),
    )
    headers = {**MONITOR, "content-type": "application/json"}
    api.post("/v1/monitor/exchange", content=sent.model_dump_json(), headers=headers).raise_for_status()
    view = until(lambda: (v := api.get(f"/v1/rollouts/{rollout}").json())["phase"] == "done" and v, "done")
    assert view["waiting_for"] == ""
    model = api.get("/v1/models/ads").json()
    assert (model["aliases"], model["rollout"]) == ({"stable": 2, "previous": 1}, None)
    page = api.get(f"/v1/rollouts/{rollout}/evidence").json()["evidence"]
    assert [Evidence.model_validate(each) for each in page] == list(sent.evidence)
    assert api.get(f"/v1/rollouts/{rollout}/evidence?after_ms={make.T0}").json() == {"evidence": []}
    assert api.get(f"/v1/rollouts/{rollout}/evidence/latest").json() == page[0]
    late = api.post(f"/v1/rollouts/{rollout}/commands", json={"command": "abort"})
    assert (late.status_code, late.json()["title"]) == (409, "IllegalMove")
    assert "every live replica holds the candidate" in late.json()["detail"]
    assert [row["id"] for row in api.get("/v1/rollouts?model=ads").json()["items"]] == [rollout]


def test_commands_are_obeyed_at_once_and_infinity_can_be_shown(push: Any, api: httpx.Client, make: Any) -> None:
    push("a"), push("b")
    api.post("/v1/models/ads/promote", json={"version": 1, "initial": True}).raise_for_status()
    rollout = api.post("/v1/models/ads/rollouts", json={"version": 2}).json()["id"]
    until(lambda: api.get(f"/v1/rollouts/{rollout}").json()["phase"] == "loading", "loading")
    assert "a live front replica" in api.get(f"/v1/rollouts/{rollout}").json()["waiting_for"]
    assert api.get(f"/v1/rollouts/{rollout}/evidence/latest").status_code == 404
    paused = api.post(f"/v1/rollouts/{rollout}/commands", json={"command": "pause", "reason": "lunch"}).json()
    assert (paused["phase"], paused["history"][-1]["actor"]) == ("paused", "admin")
    assert api.post(f"/v1/rollouts/{rollout}/commands", json={"command": "pause"}).status_code == 409
    bad = MonitorReport(monitor="m", evidence=(make.evidence("violated", make.T0, rollout, e=float("inf")),))
    headers = {**MONITOR, "content-type": "application/json"}
    api.post("/v1/monitor/exchange", content=bad.model_dump_json(), headers=headers).raise_for_status()
    until(lambda: api.get(f"/v1/rollouts/{rollout}").json()["phase"] == "rolled_back", "the rollback")
    assert Evidence.model_validate(api.get(f"/v1/rollouts/{rollout}/evidence/latest").json()).e == float("inf")


def test_simultaneous_starts_give_one_rollout(push: Any, api: httpx.Client) -> None:
    push("a"), push("b")
    api.post("/v1/models/ads/promote", json={"version": 1, "initial": True}).raise_for_status()
    barrier = threading.Barrier(4)

    def start() -> int:
        barrier.wait(timeout=20)
        return api.post("/v1/models/ads/rollouts", json={"version": 2}).status_code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(each.result(timeout=60) for each in [pool.submit(start) for _ in range(4)]) == [
            201,
            409,
            409,
            409,
        ]


def test_the_status_shows_everybody(push: Any, api: httpx.Client) -> None:
    push("a")
    watch(api, report("front", "some-digest"))
    api.post("/v1/monitor/exchange", json={"monitor": "m7"}, headers=MONITOR).raise_for_status()
    status = api.get("/v1/status").json()
    assert [model["model"] for model in status["models"]] == ["ads"]
    assert [(row["replica"], row["loaded"], row["live"]) for row in status["replicas"]] == [
        ("front-1", ["some-digest"], True)
    ]
    assert [(row["monitor"], row["live"]) for row in status["monitors"]] == [("m7", True)]
    assert api.get("/readyz").json() == {"status": "ready"}


def test_a_report_that_was_overtaken_says_nothing_new(push: Any, api: httpx.Client) -> None:
    push("a")
    for number, loaded in ((7, ["new"]), (6, ["old"])):
        body = report("front", *loaded)
        watch(api, {**body, "report": {**body["report"], "number": number}})
    assert [row["loaded"] for row in api.get("/v1/status").json()["replicas"]] == [["new"]]


def test_ranking_weights_are_set_shown_and_sent_to_the_replicas(push: Any, api: httpx.Client) -> None:
    push("a")
    api.post("/v1/models/ads/promote", json={"version": 1, "initial": True}).raise_for_status()
    assert api.get("/v1/models/ads/weights").json() == {"model": "ads", "number": 0, "weights": {}, "history": []}
    body = {"weights": {"click": 0.5}, "reason": "fewer clicks"}
    said = api.put("/v1/models/ads/weights", json=body).raise_for_status().json()
    assert (said["number"], said["weights"], said["history"][0]["actor"]) == (1, {"click": 0.5}, "admin")
    assert api.get("/v1/models/ads/weights").json() == said
    [table] = watch(api, report("front"))["tables"]
    assert table["weights"] == {"click": 0.5}


def test_jobs_are_asked_for_by_admins_and_done_by_monitors(push: Any, api: httpx.Client) -> None:
    push("a")
    ask = {"kind": "plan", "model": "ads", "params": {"per_day": 1000}}
    monitor = {"authorization": "Bearer monitor-token"}
    assert api.post("/v1/jobs", json=ask, headers=monitor).status_code == 403
    job = api.post("/v1/jobs", json=ask)
    assert (job.status_code, job.json()["state"], job.json()["actor"]) == (201, "queued", "admin")
    assert api.post("/v1/jobs", json={**ask, "kind": "preflight"}).status_code == 400
    assert api.post("/v1/jobs", json={**ask, "model": "nope"}).status_code == 404
    assert api.post("/v1/jobs", json={**ask, "kind": "nonsense"}).status_code == 400
    where = f"/v1/jobs/{job.json()['id']}"
    assert api.get(where, headers=monitor).status_code == 403
    report = {"monitor": "m", "free": True}
    (taken,) = api.post("/v1/monitor/exchange", json=report, headers=monitor).json()["jobs"]
    assert taken["params"]["sla"]["model"] == "ads"
    report["jobs"] = [{"id": taken["id"], "state": "done", "progress": 1.0, "result": {"answer": 42}}]
    assert api.post("/v1/monitor/exchange", json=report, headers=monitor).json()["jobs"] == []
    assert api.get(where).json()["result"] == {"answer": 42}
    (listed,) = api.get("/v1/jobs", params={"model": "ads", "kind": "plan"}).json()["items"]
    assert (listed["state"], listed["result"], listed["params"]) == ("done", None, {})
    assert api.post(f"{where}/cancel").status_code == 409


def test_the_health_of_a_model_is_what_monitors_report(api: httpx.Client) -> None:
    api.put("/v1/models/ads", json={"sla": SLA})
    raised = {"key": "a", "model": "ads", "kind": "health", "text": "click, overall: AUC 0.6", "since_ms": 7}
    monitor = {"Authorization": "Bearer monitor-token"}
    posted = api.post("/v1/monitor/exchange", json={"monitor": "m", "alerts": [raised]}, headers=monitor)
    assert posted.status_code == 200, posted.text
    found = api.get("/v1/models/ads/health").json()
    assert (found["stable"], found["previous"]) == (None, None)
    (alert,) = found["alerts"]
    assert (alert["alert"]["text"], alert["resolved_at"]) == ("click, overall: AUC 0.6", None)
    api.post("/v1/monitor/exchange", json={"monitor": "m", "alerts": []}, headers=monitor)
    assert api.get("/v1/models/ads/health").json()["alerts"][0]["resolved_at"] is not None
    assert api.get("/v1/models/none/health").status_code == 404
