"""gRPC through HAProxy, by Triton's own client, unchanged, and by messages that no client would send."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from pytest import approx  # noqa: PT013 (short)
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from serinus.ids import uuid7
from serinus.routes import RouteTable
from serving.ask import joined_id
from tests.pool.processes import descendants, listening

ROWS = [("EWR", 3.0, 7.0), ("nowhere", None, 23.0)]


@pytest.fixture(scope="module")
def two(stack: Any, tools: Any) -> Iterator[Any]:
    """The stack with two models: flights is version 1, trains is version 2."""
    stack.route()
    trains = RouteTable(model="trains", epoch=1, stable={"late": 2, "cancelled": 2}, packages=stack.packages, salt="t")
    stack.controller.put(trains)
    ready = lambda: stack.http.get("/v2/models/trains/ready").status_code == 200  # noqa: E731
    tools.wait_for(lambda: all(ready() for _ in range(20)))
    yield stack
    stack.controller.remove("trains")


@pytest.fixture(scope="module")
def client(two: Any) -> Iterator[Any]:
    with triton.InferenceServerClient(two.ready["grpc"]) as made:
        yield made


@pytest.fixture(scope="module")
def stub(two: Any) -> Iterator[Any]:
    with grpc.insecure_channel(two.ready["grpc"]) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def tensors(rows: list[Any] = ROWS) -> list[Any]:
    made = []
    for name, kind, values in (
        ("origin", "BYTES", np.array([row[0].encode() for row in rows], dtype=object)),
        ("delay", "FP32", np.array([np.nan if row[1] is None else row[1] for row in rows], dtype=np.float32)),
        ("hour", "FP32", np.array([row[2] for row in rows], dtype=np.float32)),
    ):
        tensor = triton.InferInput(name, [len(rows)], kind)
        tensor.set_data_from_numpy(values)
        made.append(tensor)
    return made


def test_an_unchanged_client_asks_two_models_of_one_pool(client: Any, tools: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    for model, seed in (("flights", 1), ("trains", 2)):
        assert client.is_model_ready(model)
        about = client.get_model_metadata(model)
        assert (about.name, list(about.versions)) == (model, [str(seed)])
        assert [(each.name, each.datatype, list(each.shape)) for each in about.inputs] == [
            ("origin", "BYTES", [-1]), ("delay", "FP32", [-1]), ("hour", "FP32", [-1])
        ]  # fmt: skip
        answer = client.infer(model, tensors())
        for task in ("late", "cancelled"):
            assert answer.as_numpy(task) == approx([tools.expected(seed, task, *row) for row in ROWS], rel=1e-4)
        assert (answer.get_response().model_name, answer.get_response().model_version) == (model, str(seed))
    assert not client.is_model_ready("ships")
    assert client.get_server_metadata().name == "serinus"


def test_by_grpc_a_request_means_what_it_means_by_http(two: Any, client: Any, tools: Any) -> None:
    two.route(slices=("origin", "country"))
    identity, event_ms = str(uuid7(now_ms())), now_ms() - 5_000
    asked = {"outputs": [triton.InferRequestedOutput("late")]}
    said = {"entity": "e7", "attributes.country": "BR"}
    one = client.infer("flights", tensors(), request_id=identity, parameters=said, timeout=1_000_000, **asked)
    response = one.get_response()
    assert [output.name for output in response.outputs] == ["late"]
    assert (response.id, plain(response.parameters)) == (
        identity,
        {"arm": "stable", "epoch": two.epoch, "rollout": "", "request_id": identity},
    )
    assert plain(response.outputs[0].parameters) == {"version": 1, "fallback": ""}
    own = uuid.UUID(identity).bytes
    rows = tools.wait_for(lambda: sorted((r for r in two.predictions() if r.id == own), key=lambda r: r.index))
    assert [(row.index, row.arm, row.entity, row.slices) for row in rows] == [
        (0, "stable", "e7", {"origin": "EWR", "country": "BR"}),
        (1, "stable", "e7", {"origin": "nowhere", "country": "BR"}),
    ]
    assert [row.scores[0].value for row in rows] == approx(one.as_numpy("late").tolist())
    joined = client.infer("flights", tensors(), parameters={"join_key": "order 5", "event_time_ms": event_ms})
    assert plain(joined.get_response().parameters)["request_id"] == str(joined_id("order 5", event_ms))
    with pytest.raises(InferenceServerException, match="replay token"):
        client.infer("flights", tensors(), parameters={"event_time_ms": 1_365_000_000_000})
    old = {"parameters": {"event_time_ms": 1_365_000_000_000}, "headers": {"authorization": "Bearer replay"}}
    assert client.infer("flights", tensors(), **old).as_numpy("late") is not None


def test_typed_contents_are_answered_with_typed_contents(stub: Any, client: Any) -> None:
    request = service_pb2.ModelInferRequest(model_name="flights")
    for name, kind, values in (
        ("origin", "BYTES", {"bytes_contents": [row[0].encode() for row in ROWS]}),
        ("delay", "FP32", {"fp32_contents": [np.nan if row[1] is None else row[1] for row in ROWS]}),
        ("hour", "FP32", {"fp32_contents": [row[2] for row in ROWS]}),
    ):
        contents = service_pb2.InferTensorContents(**values)
        request.inputs.add(name=name, datatype=kind, shape=[len(ROWS)], contents=contents)
    answer = stub.ModelInfer(request)
    assert not answer.raw_output_contents
    raw = client.infer("flights", tensors())
    for output in answer.outputs:
        assert list(output.contents.fp32_contents) == raw.as_numpy(output.name).tolist()


def test_both_arms_and_the_shadow_are_recorded_by_grpc(two: Any, client: Any, tools: Any) -> None:
    both = {"late": 2, "cancelled": 2}
    shares = {"candidate": both, "canary_bp": 4_000, "shadow_bp": 10_000, "expires_at": time.time() + 600}
    two.route(**shares, rollout="g1")
    arms = {}
    for number in range(40):
        answer = client.infer("flights", tensors([ROWS[0]]), parameters={"entity": f"g{number}"})
        said = plain(answer.get_response().parameters)
        seed = 2 if said["arm"] == "canary" else 1
        assert plain(answer.get_response().outputs[0].parameters) == {"version": seed, "fallback": ""}
        assert answer.as_numpy("late") == approx([tools.expected(seed, "late", *ROWS[0])], rel=1e-4)
        arms[uuid.UUID(said["request_id"]).bytes] = said["arm"]
    assert set(arms.values()) == {"canary", "control", "stable"}
    tools.wait_for(lambda: sum(row.id in arms and row.arm == "shadow" for row in two.predictions()) == len(arms))

    def recorded() -> bool:
        return {row.id: row.arm for row in two.predictions() if row.id in arms and row.arm != "shadow"} == arms

    tools.wait_for(recorded)
    two.route()


def test_compressed_calls_are_answered(client: Any) -> None:
    plainly = client.infer("flights", tensors()).as_numpy("late").tolist()
    for algorithm in ("gzip", "deflate"):
        assert client.infer("flights", tensors(), compression_algorithm=algorithm).as_numpy("late").tolist() == plainly


@pytest.mark.parametrize(
    ("change", "code", "word"),
    [
        ({"model_name": "ships"}, "NOT_FOUND", "'ships' is not served"),
        ({"model_version": "2"}, "NOT_FOUND", "not served here, but 1"),
        ({"raw_input_contents": [b"\0"]}, "INVALID_ARGUMENT", "one for each"),
        ({"outputs": [service_pb2.ModelInferRequest.InferRequestedOutputTensor(name="x")]}, "INVALID_ARGUMENT", "'x'"),
        ({"inputs": []}, "INVALID_ARGUMENT", "is empty"),
        ({"id": "x" * 300}, "INVALID_ARGUMENT", "300 characters"),
        ({"parameters": {"entity": service_pb2.InferParameter(int64_param=1)}}, "INVALID_ARGUMENT", "entity"),
        ({"parameters": {"timeout": service_pb2.InferParameter(int64_param=0)}}, "INVALID_ARGUMENT", "timeout"),
        ({"parameters": {"join_key": service_pb2.InferParameter(string_param="k")}}, "INVALID_ARGUMENT", "beside it"),
    ],
)  # fmt: skip
def test_what_is_wrong_has_its_code_and_says_what(stub: Any, change: dict[str, Any], code: str, word: str) -> None:
    given: dict[str, Any] = {"model_name": "flights"}
    if "inputs" not in change:
        contents = service_pb2.InferTensorContents(fp32_contents=[1.0])
        given["inputs"] = [
            service_pb2.ModelInferRequest.InferInputTensor(name="hour", datatype="FP32", shape=[1], contents=contents),
            service_pb2.ModelInferRequest.InferInputTensor(
                name="origin", datatype="BYTES", shape=[1], contents={"bytes_contents": [b"EWR"]}
            ),
        ]
    with pytest.raises(grpc.RpcError) as refused:
        stub.ModelInfer(service_pb2.ModelInferRequest(**{**given, **change}))
    assert (refused.value.code().name, word in refused.value.details()) == (code, True), refused.value.details()


def test_bytes_that_are_no_message_and_messages_that_are_too_large_are_refused(two: Any) -> None:
    with grpc.insecure_channel(two.ready["grpc"], [("grpc.max_send_message_length", -1)]) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        for body, code in ((b"\xff" * 40, "INVALID_ARGUMENT"), (bytes(9 << 20), "RESOURCE_EXHAUSTED")):
            with pytest.raises(grpc.RpcError) as refused:
                call(body, timeout=20)
            assert refused.value.code().name == code


def test_no_port_that_answers_by_grpc_can_be_reached_from_another_machine(two: Any) -> None:
    ports = listening(descendants(two.process.pid))
    answering = []
    for ip, port in ports:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            try:
                channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=5)
            except grpc.RpcError:
                continue
            answering.append(ip.removeprefix("::ffff:"))
    assert set(answering) == {"127.0.0.1"}
    assert len(answering) >= 3, "HAProxy and two front doors"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def plain(parameters: Any) -> dict[str, Any]:
    return {name: getattr(value, value.WhichOneof("parameter_choice")) for name, value in parameters.items()}


def test_a_request_that_names_its_version_is_answered_by_stable_outside_of_the_rollout(two: Any, client: Any) -> None:
    both = {"late": 2, "cancelled": 2}
    two.route(candidate=both, canary_bp=10_000, shadow_bp=10_000, expires_at=time.time() + 600, rollout="g2")
    assert plain(client.infer("flights", tensors()).get_response().parameters)["arm"] == "canary"
    answer = client.infer("flights", tensors(), model_version="1").get_response()
    assert (answer.model_version, plain(answer.parameters)["arm"]) == ("1", "stable")
    for version in ("2", "x"):
        with pytest.raises(InferenceServerException, match="NOT_FOUND"):
            client.infer("flights", tensors(), model_version=version)
        assert not client.is_model_ready("flights", version)
    assert client.is_model_ready("flights", "1")
    two.route()
