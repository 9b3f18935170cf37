"""One real pool on Ray Serve behind HAProxy: what clients see, and what is in the log."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import httpx
import psutil
import pytest
from pytest import approx  # noqa: PT013 (short)

from serinus.ids import uuid7
from serving.assignment import bucket_of
from tests.pool.processes import descendants, listening

OUTPUTS = ("late", "cancelled")
BOTH = {"late": 2, "cancelled": 2}


def later(seconds: float) -> float:
    return time.time() + seconds


def data(answer: dict[str, Any]) -> dict[str, float]:
    return {output["name"]: output["data"][0] for output in answer["outputs"]}


def now_id() -> str:
    return str(uuid7(int(time.time() * 1000)))


@pytest.fixture
def stable(stack: Any) -> Any:
    """The stack with version 1 alone."""
    stack.route()
    return stack


def test_stable_answers_what_numpy_computes(stable: Any, tools: Any) -> None:
    identity = now_id()
    answer = stable.infer("JFK", None, 9.0, id=identity)
    assert answer["id"] == identity
    assert answer["model_version"] == "1"
    assert answer["parameters"] == {"arm": "stable", "epoch": stable.epoch, "rollout": "", "request_id": identity}
    for task in OUTPUTS:
        assert data(answer)[task] == approx(tools.expected(1, task, "JFK", None, 9.0), rel=1e-4)


def test_a_batch_is_answered_row_by_row_and_recorded_row_by_row(stable: Any, tools: Any) -> None:
    identity = now_id()
    body = tools.request(
        ["EWR", "nowhere"], [1.5, None], [1.0, 2.0], id=identity, outputs=[{"name": "late"}], entity="e"
    )
    answer = stable.http.post("/v2/models/flights/infer", json=body).json()
    (output,) = answer["outputs"]
    wanted = [tools.expected(1, "late", "EWR", 1.5, 1.0), tools.expected(1, "late", "nowhere", None, 2.0)]
    assert output["data"] == approx(wanted, rel=1e-4)
    rows = sorted((r for r in stable.predictions() if r.id == uuid.UUID(identity).bytes), key=lambda r: r.index)
    assert [(r.index, r.arm, r.entity, r.slices) for r in rows] == [
        (0, "stable", "e", {"origin": "EWR"}),
        (1, "stable", "e", {"origin": "nowhere"}),
    ]
    assert [r.scores[0].value for r in rows] == approx(wanted, rel=1e-4)


def test_bad_bodies_get_400_that_says_what_was_expected(stable: Any, tools: Any) -> None:
    good = tools.request(["EWR"], [1.0], [2.0])
    for change, word in (
        ({"inputs": good["inputs"][:2]}, "'hour' is missing"),
        ({"outputs": [{"name": "diverted"}]}, "'diverted' is unknown"),
        ({"parameters": {"join_key": "order 7"}}, "needs parameters.event_time_ms"),
        ({"parameters": {"event_time_ms": 1_000}}, "replay token"),
    ):
        answer = stable.http.post("/v2/models/flights/infer", json=good | change)
        assert answer.status_code == 400, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert word in answer.json()["detail"]
    too_large = stable.http.post("/v2/models/flights/infer", content=b" " * (9 << 20))
    assert too_large.status_code == 413


def test_unknown_models_and_paths_are_404(stable: Any, tools: Any) -> None:
    for path in ("/v2/models/trains", "/v2/elsewhere"):
        assert stable.http.get(path).status_code == 404
    assert stable.http.post("/v2/models/trains/infer", json=tools.request(["a"], [1], [1])).status_code == 404


def test_the_protocol_describes_itself(stable: Any) -> None:
    assert stable.http.get("/v2").json()["name"] == "serinus"
    assert stable.http.get("/v2/health/ready").json() == {"ready": True}
    assert stable.http.get("/v2/models/flights/ready").json() == {"name": "flights", "ready": True}
    about = stable.http.get("/v2/models/flights").json()
    assert [output["name"] for output in about["outputs"]] == list(OUTPUTS)
    assert stable.http.get("/v1/serving/status").json()["epochs"] == {"flights": stable.epoch}


def test_the_past_needs_the_replay_token(stable: Any, tools: Any) -> None:
    body = tools.request(["EWR"], [1.0], [2.0], event_time_ms=1_365_000_000_000)
    answer = stable.http.post("/v2/models/flights/infer", json=body, headers={"authorization": "Bearer replay"})
    assert answer.status_code == 200
    identity = uuid.UUID(answer.json()["id"]).bytes
    tools.wait_for(lambda: [r.arm for r in stable.predictions() if r.id == identity] == ["stable"])
    assert (stable.log / "predictions" / "flights" / "20130403T14").is_dir()


def test_the_canary_share_is_kept_and_sticks(stack: Any, tools: Any) -> None:
    stack.route(candidate=BOTH, canary_bp=3_000, expires_at=later(600), rollout="r1")
    arms = {f"e{i}": stack.infer(entity=f"e{i}")["parameters"]["arm"] for i in range(150)}
    counts = [list(arms.values()).count(arm) for arm in ("canary", "control", "stable")]
    assert min(counts) > 25  # 45, 45, 60 are expected; five standard deviations are 28
    again = {entity: stack.infer(entity=entity) for entity in list(arms)[:40]}
    assert {entity: answer["parameters"]["arm"] for entity, answer in again.items()} == dict(list(arms.items())[:40])
    for answer in again.values():
        seed = 2 if answer["parameters"]["arm"] == "canary" else 1
        assert answer["model_version"] == str(seed)
        assert data(answer)["late"] == approx(tools.expected(seed, "late", "EWR", 3.0, 7.0), rel=1e-4)


def test_when_the_candidate_is_killed_stable_answers_for_it(stack: Any, tools: Any) -> None:
    table = stack.route(candidate=BOTH, canary_bp=1_000, expires_at=later(600), rollout="r2")
    entity = next(f"e{i}" for i in range(1_000) if bucket_of(table.salt, f"e{i}") < 1_000)
    assert stack.infer(entity=entity)["outputs"][0]["parameters"] == {"version": 2, "fallback": ""}
    (victim,) = stack.replicas("Candidate")
    victim.kill()
    answer = stack.infer(entity=entity)
    assert answer["parameters"]["arm"] == "canary"
    assert answer["outputs"][0]["parameters"] == {"version": 2, "fallback": "stable"}
    assert data(answer)["late"] == approx(tools.expected(1, "late", "EWR", 3.0, 7.0), rel=1e-4)
    (row,) = [r for r in stack.predictions() if r.id == uuid.UUID(answer["id"]).bytes]
    assert [(s.version, s.fallback) for s in row.scores] == [(2, "stable")] * 2
    tools.wait_for(lambda: stack.infer(entity=entity)["outputs"][0]["parameters"]["fallback"] == "", 30)


def test_shadow_rows_have_the_ids_of_their_requests(stack: Any, tools: Any) -> None:
    stack.route(candidate=BOTH, canary_bp=4_000, shadow_bp=10_000, expires_at=later(600), rollout="r3")
    answers = {uuid.UUID(a["id"]).bytes: a for a in (stack.infer("LGA", entity=f"s{i}") for i in range(60))}

    def copies() -> list[Any] | None:
        found = [row for row in stack.predictions() if row.id in answers and row.arm == "shadow"]
        return found if len(found) == 60 else None

    rows = tools.wait_for(copies)
    assert {row.id for row in rows} == answers.keys()
    for row in rows:
        arm = answers[row.id]["parameters"]["arm"]
        seed = 1 if arm == "canary" else 2
        assert [score.version for score in row.scores] == [seed] * 2
        assert row.scores[0].value == approx(tools.expected(seed, "late", "LGA", 3.0, 7.0), rel=1e-4)
        assert (row.rollout, row.epoch, row.slices) == ("r3", stack.epoch, {"origin": "LGA"})
    entities = {row.id: row.entity for row in stack.predictions() if row.arm != "shadow"}
    assert all(row.entity == entities[row.id] for row in rows)
    tools.wait_for(lambda: all(mark.outstanding_ms is None for mark in stack.marks() if fresh(mark)))


def fresh(mark: Any) -> bool:
    return bool(mark.wall_ms > time.time() * 1000 - 1_000)


def test_labels_are_taken_or_refused_row_by_row(stable: Any) -> None:
    identity = stable.infer()["id"]
    labels = [
        {"id": identity, "task": "late", "value": 1},
        {"id": identity, "task": "diverted", "value": 1},
        {"id": now_id(), "task": "late", "value": 0},
        {"id": identity, "task": "late", "value": 1, "index": 1},
        {"id": identity, "task": "late", "value": 0.5},
        {"id": 7, "task": "late", "value": 1},
        {"id": identity, "task": "late", "value": 1},
    ]
    source = {"source": "airport", "event_ms": int(time.time() * 1000) - 5_000}
    answer = stable.http.post("/v1/labels", json={"model": "flights", "labels": labels, "complete_to": source})
    assert answer.status_code == 200
    assert answer.json()["accepted"] == 2
    assert [refused["row"] for refused in answer.json()["refused"]] == [1, 2, 3, 4, 5]
    assert "never answered" in answer.json()["refused"][1]["why"]
    rows = [row for row in stable.labels() if row.id == uuid.UUID(identity).bytes]
    assert [(row.index, row.task, row.value) for row in rows] == [(0, "late", 1.0)] * 2
    assert any(mark.complete_to_ms.get("airport") == source["event_ms"] for mark in stable.marks())
    assert stable.http.post("/v1/labels", json={"model": "trains", "labels": []}).status_code == 404
    assert stable.http.post("/v1/labels", json={"labels": []}).status_code == 400


def test_a_table_comes_into_force_and_an_older_one_is_refused(stack: Any, tools: Any) -> None:
    stack.route()
    table = stack.route(stable=BOTH)  # waits, with a deadline, until every replica has applied it
    assert stack.infer()["model_version"] == "2"
    stack.controller.put(table.model_copy(update={"epoch": 1, "stable": {"late": 1, "cancelled": 1}}))
    tools.wait_for(lambda: stack.http.get("/v1/serving/status").status_code == 200)
    assert stack.infer()["model_version"] == "2"
    stack.controller.put(table)


INTERNAL = ("/ray.serve.ASGIService/HandleRequest", "/ray.rpc.CoreWorkerService/PushTask")
"""Calls of Ray's own that would run what they are sent."""


def test_what_other_machines_could_reach_wants_a_token(stable: Any) -> None:
    processes = [replica for name in ("FrontDoor", "Candidate", "Shadow") for replica in stable.replicas(name)]
    reachable = [port for ip, port in listening(processes) if not ip.removeprefix("::ffff:").startswith("127.")]
    for port in reachable:
        codes = []
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            for method in INTERNAL:
                with pytest.raises(grpc.RpcError) as refused:
                    channel.unary_unary(method)(b"", timeout=10)
                codes.append(refused.value.code())
        assert grpc.StatusCode.UNAUTHENTICATED in codes, f"port {port}: {codes}"
    assert len(reachable) >= len(processes), "Ray's own ports were looked at"


def test_an_expired_table_sends_nobody_to_the_canary(stack: Any) -> None:
    stack.route(candidate=BOTH, canary_bp=10_000, shadow_bp=10_000, expires_at=later(-1), rollout="r4")
    answer = stack.infer()
    assert (answer["parameters"]["arm"], answer["model_version"]) == ("stable", "1")


def test_shares_end_by_themselves_when_the_controller_is_gone(stack: Any, tools: Any) -> None:
    stack.route(candidate=BOTH, canary_bp=10_000, shadow_bp=10_000, expires_at=later(600), rollout="r5")
    stack.route(candidate=BOTH, canary_bp=10_000, shadow_bp=10_000, expires_at=(ends := later(6)), rollout="r5")
    stack.controller.stop()
    try:
        early = stack.infer()["parameters"]["arm"], time.time() < ends
        assert early in (("canary", True), ("stable", False))
        tools.wait_for(lambda: time.time() >= ends)
        assert [stack.infer()["parameters"]["arm"] for _ in range(4)] == ["stable"] * 4
    finally:
        stack.controller.start()


def test_serving_goes_on_without_the_controller(stack: Any) -> None:
    stack.route()
    stack.controller.stop()
    try:
        assert stack.infer()["model_version"] == "1"
    finally:
        stack.controller.start()
    stack.route(stable=BOTH)
    assert stack.infer()["model_version"] == "2"


def test_a_killed_front_door_loses_no_answer_and_no_acknowledged_label(stable: Any, tools: Any) -> None:
    answered: list[str] = []
    labelled: list[str] = []
    stop = threading.Event()

    def client(number: int) -> None:
        with httpx.Client(base_url=stable.ready["url"], timeout=10.0, trust_env=False) as http:
            while not stop.is_set():
                body = tools.request(["EWR"], [1.0], [2.0], id=now_id(), entity=f"k{number}")
                try:
                    answer = http.post("/v2/models/flights/infer", json=body)
                    if answer.status_code != 200:
                        continue
                    answered.append(body["id"])
                    label = {"id": body["id"], "task": "late", "value": 1}
                    sent = http.post("/v1/labels", json={"model": "flights", "labels": [label]})
                    if sent.status_code == 200 and sent.json()["accepted"] == 1:
                        labelled.append(body["id"])
                except httpx.HTTPError:
                    continue

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(client, number) for number in range(4)]
        try:
            tools.wait_for(lambda: len(labelled) > 40)
            victim = stable.replicas("FrontDoor")[0]
            os.kill(victim.pid, signal.SIGKILL)
            victim.wait(10)
            before = len(labelled)
            tools.wait_for(lambda: len(labelled) > before + 40, 30)
            tools.wait_for(lambda: stable.applied_by("front") == [stable.epoch] * 2, 40)
        finally:
            stop.set()
        for done in clients:
            done.result(30)
    written = {row.id for row in stable.predictions()}
    assert {uuid.UUID(identity).bytes for identity in answered} <= written
    assert {uuid.UUID(identity).bytes for identity in labelled} <= {row.id for row in stable.labels()}


def test_it_stops_cleanly_and_leaves_no_process(stack: Any) -> None:
    family = descendants(stack.process.pid)
    assert len(family) > 5
    assert stack.stop() == 0
    _gone, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    assert not (stack.folder / "home" / "run").exists()
    with httpx.Client(trust_env=False) as http:
        try:
            http.get(stack.ready["url"])
        except httpx.ConnectError:
            return
    raise AssertionError("something still answers")
