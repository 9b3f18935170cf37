"""Paths, methods, bodies and headers of the real stack: what is wrong is a 4xx that says what was expected."""

from __future__ import annotations

import gzip
import json
import socket
import time
import zlib
from typing import Any

import pytest
from pytest import approx  # noqa: PT013 (short)

INFER = "/v2/models/flights/infer"


@pytest.fixture(scope="module")
def flights(stack: Any) -> Any:
    stack.route()
    return stack


@pytest.fixture(scope="module")
def body(tools: Any) -> bytes:
    return json.dumps(tools.request(["EWR"], [3.0], [7.0])).encode()


def problem(answer: Any, status: int) -> str:
    """The detail of an answer that must be a problem of this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["status"] == status
    assert said["error"] == said["detail"]
    return str(said["detail"])


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", INFER, "POST"),
        ("PUT", INFER, "POST"),
        ("GET", "/v2/models/flights/rank", "POST"),
        ("POST", "/v2/models/flights", "GET, HEAD"),
        ("DELETE", "/v2/models/flights/ready", "GET, HEAD"),
        ("POST", "/v2/health/live", "GET, HEAD"),
        ("OPTIONS", "/v2", "GET, HEAD"),
        ("GET", "/v1/labels", "POST"),
    ],
)
def test_a_wrong_method_is_told_the_right_one(flights: Any, method: str, path: str, allow: str) -> None:
    answer = flights.http.request(method, path)
    assert allow in problem(answer, 405)
    assert answer.headers["allow"] == allow


@pytest.mark.parametrize(
    "path", ["/v2", "/v2/health/live", "/v2/models/flights", "/v2/models/flights/versions/1/ready", "/openapi.json"]
)
def test_head_is_get_without_a_body(flights: Any, path: str) -> None:
    full, head = flights.http.get(path), flights.http.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(full.content))


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("POST", "/v2/models/ships/infer", "model 'ships' is not served here"),
        ("GET", "/v2/models/ships", "model 'ships' is not served here"),
        ("GET", "/v2/models/ships/ready", "model 'ships' is not served here"),
        ("GET", "/v2/models/flights/versions/9", "version '9' of flights is not served here, but 1 (late, cancelled)"),
        ("GET", "/v2/models/flights/versions/9/ready", "version '9'"),
        ("POST", "/v2/models/flights/versions/1/rank", "there is no"),
        ("GET", "/v2/models/flights/stats", "there is no"),
        ("GET", "/v2/models/" + "x" * 3000, "there is no"),
        ("GET", "/", "there is no /"),
        ("POST", "/nothing", "there is no /nothing"),
    ],
)
def test_what_is_not_there_is_404(flights: Any, body: bytes, method: str, path: str, words: str) -> None:
    answer = flights.http.request(method, path, content=body if method == "POST" else b"")
    assert words in problem(answer, 404)


def test_a_version_is_answered_where_it_is_stable_for_all_that_is_asked(flights: Any, tools: Any) -> None:
    flights.route(stable={"late": 1, "cancelled": 2})
    asked = tools.request(["EWR"], [3.0], [7.0])
    late = flights.http.post("/v2/models/flights/versions/1/infer", json={**asked, "outputs": [{"name": "late"}]})
    assert late.json()["outputs"][0]["data"] == approx([tools.expected(1, "late", "EWR", 3.0, 7.0)], rel=1e-4)
    assert late.json()["model_version"] == "1"
    both = flights.http.post("/v2/models/flights/versions/1/infer", json=asked)
    assert "task 'cancelled' of flights is not answered by version 1, but 1 (late); 2 (cancelled)" in problem(both, 404)
    about = flights.http.get("/v2/models/flights/versions/2").json()
    assert [output["name"] for output in about["outputs"]] == ["cancelled"]


def test_who_names_the_stable_version_is_in_no_arm_of_the_rollout(flights: Any, tools: Any) -> None:
    candidate = {"late": 2, "cancelled": 2}
    flights.route(candidate=candidate, canary_bp=5_000, shadow_bp=10_000, expires_at=time.time() + 600, rollout="r")
    try:
        arms = {flights.infer(entity=f"e{at}")["parameters"]["arm"] for at in range(20)}
        assert arms == {"canary", "control"}
        for at in range(20):
            asked = tools.request(["EWR"], [3.0], [7.0], entity=f"e{at}")
            said = flights.http.post("/v2/models/flights/versions/1/infer", json=asked).json()
            assert (said["parameters"]["arm"], said["model_version"]) == ("stable", "1")
        answer = flights.http.post("/v2/models/flights/versions/2/infer", json=asked)
        assert "version '2' of flights is not served here" in problem(answer, 404)
    finally:
        flights.route()


def test_a_batch_with_one_bad_row_says_which(flights: Any, tools: Any) -> None:
    asked = tools.request(["EWR"] * 5, [1.0] * 5, [7.0, 8.0, 9.0, "ten", 11.0])
    assert "row 3 of input 'hour' is no FP32" in problem(flights.http.post(INFER, json=asked), 400)


@pytest.mark.parametrize("kind", ["declared", "chunked"])
def test_an_oversize_body_is_refused_before_it_is_all_there(flights: Any, kind: str) -> None:
    length = "Content-Length: 900000000" if kind == "declared" else "Transfer-Encoding: chunked"
    with socket.create_connection(("127.0.0.1", flights.port), timeout=20) as raw:
        raw.sendall(f"POST {INFER} HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n".encode())
        if kind == "chunked":
            some = b"%x\r\n%b\r\n" % (1 << 20, b" " * (1 << 20))
            for _ in range(9):  # and there would be more
                raw.sendall(some)
        assert raw.recv(4096).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("coding", "pack", "status", "words"),
    [
        ("gzip", lambda plain: gzip.compress(b" " * (200 << 20)), 413, "once it is unpacked"),
        ("deflate", lambda plain: zlib.compress(b" " * (200 << 20)), 413, "once it is unpacked"),
        ("gzip", lambda plain: gzip.compress(plain)[:-9], 400, "cut short"),
        ("gzip", lambda plain: gzip.compress(plain) * 2, 400, "something follows"),
        ("gzip", lambda plain: plain, 400, "is no gzip"),
        ("deflate", lambda plain: plain, 400, "is no deflate"),
        ("br", lambda plain: plain, 415, "expected gzip, deflate or none"),
    ],
)
def test_what_cannot_be_unpacked_is_refused(
    flights: Any, body: bytes, coding: str, pack: Any, status: int, words: str
) -> None:
    answer = flights.http.post(INFER, content=pack(body), headers={"content-encoding": coding})
    assert words in problem(answer, status)


@pytest.mark.parametrize("wbits", [15, -15, 31])
def test_deflate_is_taken_as_clients_send_it(flights: Any, body: bytes, wbits: int) -> None:
    pack = zlib.compressobj(wbits=wbits)
    content = pack.compress(body) + pack.flush()
    coding = "gzip" if wbits == 31 else "deflate"
    assert flights.http.post(INFER, content=content, headers={"content-encoding": coding}).status_code == 200


def test_headers_change_neither_the_arm_nor_the_time_nor_the_turn(flights: Any, body: bytes) -> None:
    headers = {
        "x-request-timeout-seconds": "0.000001",
        "x-request-disconnect-disabled": "?1",
        "x-request-id": "chosen",
        "serve-multiplexed-model-id": "2",
        "x-serinus-arm": "canary",
        "priority": "u=0",
    }
    answer = flights.http.post(INFER, content=body, headers=headers)
    assert answer.status_code == 200
    assert answer.json()["parameters"]["arm"] == "stable"


def test_a_caller_may_wait_less_but_not_longer_than_the_sla(flights: Any, tools: Any) -> None:
    asked = tools.request(["EWR"], [3.0], [7.0])
    answer = flights.http.post(INFER, json={**asked, "parameters": {"timeout": 1}})
    assert "it may take 1 us" in problem(answer, 504)
    flights.route(serving={"timeout_ms": 1})
    try:
        with socket.create_connection(("127.0.0.1", flights.port), timeout=20) as raw:
            content = json.dumps({**asked, "parameters": {"timeout": 60_000_000}}).encode()
            raw.sendall(f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n".encode())
            time.sleep(0.05)  # the request has arrived and its time has run out before its body is there
            raw.sendall(content)
            said = b""
            while b"it may take 1000 us" not in said and (more := raw.recv(4096)):
                said += more
            assert b"it may take 1000 us" in said  # else the socket times out
    finally:
        flights.route()


def test_the_description_names_every_path(flights: Any) -> None:
    described = flights.http.get("/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    for path, operations in described["paths"].items():
        for method in operations:
            real = path.replace("{model}", "flights").replace("{version}", "1")
            assert flights.http.request(method, real, content=b"{}").status_code in (200, 400)
