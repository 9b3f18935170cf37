"""REST of the Open Inference Protocol by clients that others wrote, unchanged, against the real stack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from pytest import approx  # noqa: PT013 (short)
from tritonclient.utils import InferenceServerException

ROWS = [("EWR", 3.0, 7.0), ("nowhere", None, 23.0)]
TASKS = ("late", "cancelled")


@pytest.fixture(scope="module")
def flights(stack: Any) -> Any:
    stack.route()
    return stack


@pytest.fixture(scope="module")
def client(flights: Any) -> Iterator[Any]:
    made = triton.InferenceServerClient(f"127.0.0.1:{flights.port}")
    yield made
    made.close()


def tensors(rows: list[Any], binary: bool = True) -> list[Any]:
    made = []
    for name, kind, values in (
        ("origin", "BYTES", np.array([row[0].encode() for row in rows], dtype=object)),
        ("delay", "FP32", np.array([np.nan if row[1] is None else row[1] for row in rows], dtype=np.float32)),
        ("hour", "FP32", np.array([row[2] for row in rows], dtype=np.float32)),
    ):
        if not binary and name == "delay":
            continue  # NaN is no JSON, and the client does not send null
        tensor = triton.InferInput(name, [len(rows)], kind)
        tensor.set_data_from_numpy(values, binary_data=binary)
        made.append(tensor)
    return made


def test_tritons_client_reads_what_is_served(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("flights")
    assert client.is_model_ready("flights", "1")
    assert not client.is_model_ready("flights", "2")
    assert not client.is_model_ready("ships")
    about = client.get_server_metadata()
    assert about["name"] == "serinus"
    assert "binary_tensor_data" in about["extensions"]
    for version in ("", "1"):
        model = client.get_model_metadata("flights", version)
        assert (model["name"], model["versions"]) == ("flights", ["1"])
        assert [(each["name"], each["datatype"], each["shape"]) for each in model["inputs"]] == [
            ("origin", "BYTES", [-1]), ("delay", "FP32", [-1]), ("hour", "FP32", [-1])
        ]  # fmt: skip
        assert [each["name"] for each in model["outputs"]] == list(TASKS)


@pytest.mark.parametrize("version", ["", "1"])
@pytest.mark.parametrize("coding", [None, "gzip", "deflate"])
def test_tritons_client_asks_in_bytes_and_compressed(client: Any, tools: Any, version: str, coding: Any) -> None:
    rows = ROWS * 512  # so many that the answer is worth compressing
    answer = client.infer(
        "flights",
        tensors(rows),
        version,
        request_id="its own",
        request_compression_algorithm=coding,
        response_compression_algorithm=coding,
        timeout=500_000,
        parameters={"entity": "someone"},
    )
    said = answer.get_response()
    assert (said["model_name"], said["model_version"], said["id"]) == ("flights", "1", "its own")
    for task in TASKS:
        right = [tools.expected(1, task, *row) for row in ROWS] * 512
        assert answer.as_numpy(task) == approx(np.array(right), rel=1e-4)
        assert answer.get_output(task)["parameters"]["binary_data_size"] == 4 * len(rows)


def test_tritons_client_mixes_json_and_bytes(client: Any, tools: Any) -> None:
    wanted = [triton.InferRequestedOutput("late", binary_data=False), triton.InferRequestedOutput("cancelled")]
    for binary in (True, False):
        answer = client.infer("flights", tensors(ROWS, binary), outputs=wanted)
        assert "data" in answer.get_output("late")
        assert "data" not in answer.get_output("cancelled")
        for task in TASKS:
            rows = ROWS if binary else [(origin, None, hour) for origin, _, hour in ROWS]
            assert answer.as_numpy(task) == approx([tools.expected(1, task, *row) for row in rows], rel=1e-4)


def test_tritons_client_is_told_what_was_wrong(client: Any) -> None:
    wrong = triton.InferInput("hour", [1], "FP16")
    wrong.set_data_from_numpy(np.array([1], dtype=np.float16))
    with pytest.raises(InferenceServerException, match="'hour' is FP16, expected one of FP32"):
        client.infer("flights", [*tensors(ROWS[:1])[:2], wrong])
    with pytest.raises(InferenceServerException, match="model 'ships' is not served here"):
        client.infer("ships", tensors(ROWS))
    with pytest.raises(InferenceServerException, match="version '2' of flights is not served here, but 1"):
        client.infer("flights", tensors(ROWS), "2")
    counted = triton.InferRequestedOutput("late", class_count=2)
    with pytest.raises(InferenceServerException, match="as classification"):
        client.infer("flights", tensors(ROWS), outputs=[counted])
