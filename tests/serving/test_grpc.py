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
