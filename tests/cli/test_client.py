"""The client against a server that behaves and one that does not."""

from __future__ import annotations

import io
import socket
import tarfile
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.client import Client, Label
from serinus.client.tensors import to_tensors
from serinus.errors import BadInput, InvalidPackage, NotFound, Overloaded, Stale, Unavailable
from serinus.ids import event_ms_of

INFER, META = "/v2/models/ads/infer", "/v2/models/ads"
ANSWER = {
    "model_name": "ads",
    "model_version": "1",
    "id": "01920000-0000-7000-8000-000000000000",
    "parameters": {"arm": "canary", "epoch": 3, "rollout": "r1"},
    "outputs": [
        {"name": "click", "datatype": "FP32", "shape": [2], "data": [0.1, 0.2], "parameters": {"version": 2}},
        {
            "name": "buy",
            "datatype": "FP32",
            "shape": [2],
            "data": [0.3, 0.4],
            "parameters": {"version": 2, "fallback": "stable"},
        },
    ],
}
METADATA = {"name": "ads", "inputs": [{"name": "age", "datatype": "FP32", "shape": [-1]}]}


@pytest.fixture
def client(home: Any) -> Client:
    return Client(home=home.path)


def test_it_finds_the_local_stack_and_shows_its_token_to_the_controller_alone(client: Client, server: Any) -> None:
    server.on("/v1/status", (200, {}))
    server.on(META, (200, METADATA))
    client.status()
    client.metadata("ads")
    assert server.asked("/v1/status")[0].headers["authorization"] == "Bearer admin-token"
    assert "authorization" not in server.asked(META)[0].headers


def test_the_token_of_a_local_stack_is_never_sent_to_another_address(home: Any, server: Any) -> None:
    server.on("/v1/status", (200, {}))
    Client(api=server.url, home=home.path).status()
    assert "authorization" not in server.seen[0].headers


def test_the_replay_token_goes_with_requests_when_it_was_asked_for(home: Any, server: Any) -> None:
    server.on(META, (200, METADATA))
    Client(home=home.path, replay=True).metadata("ads")
    Client(home=home.path, replay="mine").metadata("ads")
    assert [each.headers["authorization"] for each in server.seen] == ["Bearer replay-token", "Bearer mine"]


def test_without_a_stack_it_says_how_to_start_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERINUS_API", raising=False)
    with pytest.raises(Unavailable, match="no local stack") as caught:
        Client(home=tmp_path).status()
    assert "serinus up" in caught.value.advice


def test_a_refused_connection_says_where_nothing_answers() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(Unavailable, match=url) as caught:
        Client(api=url).promote("ads", 1)
    assert "serinus status" in caught.value.advice


def test_an_answer_names_arm_versions_and_fallbacks(client: Client, server: Any) -> None:
    server.on(META, (200, METADATA))
    server.on(INFER, (200, ANSWER))
    answer = client.infer("ads", {"age": [31, None]}, entity="u7", event_time_ms=1_700_000_000_000)
    assert (answer.arm, answer.epoch, answer.rollout) == ("canary", 3, "r1")
    assert answer.outputs == {"click": [0.1, 0.2], "buy": [0.3, 0.4]}
    assert answer.versions == {"click": 2, "buy": 2}
    assert answer.fallbacks == {"buy": "stable"}
    sent = server.asked(INFER)[0].json
    assert sent["inputs"] == [{"name": "age", "shape": [2], "datatype": "FP32", "data": [31, None]}]
    assert sent["parameters"] == {"entity": "u7", "event_time_ms": 1_700_000_000_000}
    assert event_ms_of(uuid.UUID(sent["id"])) == 1_700_000_000_000


def test_a_ranking_names_the_candidates_best_first(client: Client, server: Any) -> None:
    server.on(META, (200, METADATA))
    weights = {"weights": {"click": 1.0}, "weights_ignored": ["gone"], "request_id": ANSWER["id"]}
    ranked = {"index": [1, 0], "scores": [0.2, 0.1], "items": ["b", "a"]}
    said = {**ANSWER, **ranked, "id": "mine", "parameters": {"arm": "stable", "epoch": 3, **weights}}
    server.on("/v2/models/ads/rank", None, (200, said))
    answer = client.rank("ads", {"age": 31}, {"price": [1.5, 2.5]}, items=["a", "b"], top=2, entity="u7", timeout_s=0.2)
    assert [(each.item, each.index, each.score, each.tasks) for each in answer.candidates] == [
        ("b", 1, 0.2, {"click": 0.1, "buy": 0.3}),
        ("a", 0, 0.1, {"click": 0.2, "buy": 0.4}),
    ]
    assert (answer.id, answer.weights, answer.ignored) == (ANSWER["id"], {"click": 1.0}, ("gone",))
    assert (answer.fallbacks, answer.epoch) == ({"buy": "stable"}, 3)
    first, second = [each.json for each in server.asked("/v2/models/ads/rank")]
    assert first == second
    assert [(each["name"], each["shape"]) for each in first["inputs"]] == [("age", [1]), ("price", [2])]
    asked = first["parameters"]
    assert (asked["items"], asked["top"], asked["timeout"], asked["entity"]) == (["a", "b"], 2, 200_000, "u7")


@pytest.mark.parametrize(
    "failure",
    [
        (404, b"404 Not Found"),
        (503, b"<html>no server is available</html>"),
        (503, Overloaded("the queue is full").problem()),
        None,
    ],
    ids=["proxy has no backend yet", "proxy has none left", "overloaded", "connection cut"],
)
def test_a_passing_failure_is_tried_again_as_the_same_request(client: Client, server: Any, failure: Any) -> None:
    server.on(META, (200, METADATA))
    server.on(INFER, failure, failure, (200, ANSWER))
    client.infer("ads", {"age": [31.0]})
    sent = [each.json for each in server.asked(INFER)]
    assert len(sent) == 3
    assert sent[0] == sent[1] == sent[2]


def test_a_model_that_is_not_there_is_an_error_at_once(client: Client, server: Any) -> None:
    server.on(META, (404, NotFound("no model 'ads'").problem()))
    with pytest.raises(NotFound, match="no model 'ads'"):
        client.infer("ads", {"age": [31.0]})
    assert len(server.seen) == 1


def test_a_request_that_is_wrong_is_not_repeated(client: Client, server: Any) -> None:
    server.on(META, (200, METADATA))
    server.on(INFER, (400, BadInput("age: expected FP32").problem()))
    with pytest.raises(BadInput, match="expected FP32"):
        client.infer("ads", {"age": [31.0]})
    assert len(server.asked(INFER)) == 1


def test_trying_again_has_an_end(client: Client, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serinus.client.blocking.inference.RETRIES_S", (0.0, 0.0))
    server.on(META, (503, b"busy"))
    with pytest.raises(Exception, match="answered 503"):
        client.metadata("ads")
    assert len(server.seen) == 3


def test_a_write_is_tried_again_under_the_same_key_and_another_write_has_another(client: Client, server: Any) -> None:
    server.on("/v1/models/ads/promote", None, (503, Overloaded("busy").problem()), (200, {}))
    client.promote("ads", 1, "first")
    client.promote("ads", 1, "first")
    keys = [each.headers["idempotency-key"] for each in server.seen]
    assert len(keys) == 4
    assert len(set(keys[:3])) == 1
    assert keys[3] != keys[0]


def test_a_write_that_is_refused_is_not_repeated(client: Client, server: Any) -> None:
    server.on("/v1/models/ads/promote", (409, Stale("no").problem()))
    with pytest.raises(Stale):
        client.promote("ads", 1, "first")
    assert len(server.seen) == 1


def test_an_id_that_carries_no_time_is_refused_here(client: Client, server: Any) -> None:
    server.on(META, (200, METADATA))
    with pytest.raises(BadInput, match="UUIDv7"):
        client.infer("ads", {"age": [1.0]}, id=str(uuid.uuid4()))


def test_labels_go_in_batches_and_only_the_last_says_complete(
    client: Client, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serinus.client.blocking.inference.LABELS_A_CALL", 2)
    refused = {"accepted": 1, "refused": [{"row": 1, "why": "no such task"}]}
    server.on(
        "/v1/labels", (200, {"accepted": 2, "refused": []}), (200, refused), (200, {"accepted": 1, "refused": []})
    )
    rows = [Label(str(n), "click", 1.0, known_ms=n or None) for n in range(5)]
    said = client.labels("ads", rows, complete_to=("web", 99))
    assert said.accepted == 4
    assert [(each.row, each.why) for each in said.refused] == [(3, "no such task")]
    sent = [each.json for each in server.asked("/v1/labels")]
    assert [len(each["labels"]) for each in sent] == [2, 2, 1]
    assert [each.get("complete_to") for each in sent] == [None, None, {"source": "web", "event_ms": 99}]
    assert sent[0]["labels"] == [
        {"id": "0", "index": 0, "task": "click", "value": 1.0},
        {"id": "1", "index": 0, "task": "click", "value": 1.0, "known_ms": 1},
    ]


def test_completeness_alone_can_be_said(client: Client, server: Any) -> None:
    server.on("/v1/labels", (200, {"accepted": 0, "refused": []}))
    client.labels("ads", (), complete_to=("web", 99))
    assert server.seen[0].json["labels"] == []


def test_a_push_sends_a_tar_of_exactly_the_package(client: Client, server: Any, package: Path) -> None:
    server.on("/v1/models/ads/versions", (201, {"version": 4, "digest": "d" * 64, "created": True}))
    progress: list[tuple[int, int]] = []
    version = client.push("ads", package, lambda done, total: progress.append((done, total)))
    assert (version.version, version.created) == (4, True)
    request = server.seen[0]
    assert request.headers["content-type"] == "application/x-tar"
    assert int(request.headers["content-length"]) == len(request.body) == progress[-1][0] == progress[-1][1]
    with tarfile.open(fileobj=io.BytesIO(request.body)) as tar:
        found = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    files = (path for path in package.rglob("*") if path.is_file())
    assert found == {path.relative_to(package).as_posix(): path.read_bytes() for path in files}


def test_the_same_files_give_the_same_bytes(client: Client, server: Any, new_package: Any, tmp_path: Path) -> None:
    server.on("/v1/models/ads/versions", (201, {"version": 1, "digest": "d"}))
    for name in ("one", "two"):
        client.push("ads", new_package(tmp_path / name))
    assert server.seen[0].body == server.seen[1].body


def test_an_altered_package_is_refused_before_anything_is_sent(client: Client, server: Any, package: Path) -> None:
    (package / "parts" / "head.onnx").write_bytes(b"other")
    with pytest.raises(InvalidPackage, match="was altered"):
        client.push("ads", package)
    assert server.seen == []


def test_columns_become_tensors_with_the_datatype_of_the_model_else_of_their_values() -> None:
    columns = {
        "age": np.array([1.0, np.nan]),
        "city": ["Rio", None],
        "near": [[1, 2], [3, 4]],
        "seen": [1, None],
        "flag": (True, False),
    }
    said = {each["name"]: each for each in to_tensors(columns, {"age": "FP64"})}
    assert {name: (each["datatype"], each["shape"]) for name, each in said.items()} == {
        "age": ("FP64", [2]),
        "city": ("BYTES", [2]),
        "near": ("INT64", [2, 2]),
        "seen": ("FP32", [2]),
        "flag": ("BOOL", [2]),
    }
    assert said["age"]["data"] == [1.0, None]
    assert said["near"]["data"] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"a": [1], "b": [1, 2]}, "has 2 rows"),
        ({"a": [[1], [1, 2]]}, "differ in shape"),
        ({"a": [[1], 2]}, "differ in shape"),
        ({"a": [float("inf")]}, "infinite"),
    ],
)
def test_columns_that_are_no_tensors_are_refused(columns: dict[str, Any], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        to_tensors(columns, {})


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
def test_data_is_in_row_major_order(n: int, k: int, m: int) -> None:
    values = np.arange(n * k * m).reshape(n, k, m)
    (said,) = to_tensors({"x": values}, {})
    assert said["shape"] == [n, k, m]
    assert np.array_equal(np.array(said["data"]).reshape(said["shape"]), values)


def test_evidence_is_read_page_by_page_to_its_end(
    client: Client, server: Any, looks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serinus.client.blocking.rollouts.PAGE", 2)
    server.on("/v1/rollouts/r1/evidence", (200, looks(1, 2)), (200, looks(3, 4)), (200, looks()))
    assert [look.tick_ms for look in client.evidence("r1")] == [1, 2, 3, 4]
    assert [each.path.split("?")[1] for each in server.seen] == ["limit=2", "after_ms=2&limit=2", "after_ms=4&limit=2"]
