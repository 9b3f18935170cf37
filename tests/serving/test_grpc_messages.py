"""gRPC messages without a server: the wire is the protocol's, every datatype arrives, and nothing false passes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from serinus.errors import BadInput
from serinus.tasks import InputSpec
from serving import grpc_messages
from serving.ask import Caller, check
from serving.grpc_tensors import FIELDS, given_of

VALUES: dict[str, list[Any]] = {
    "FP32": [1.5, -2.0, 0.0, 3.0],
    "FP64": [1.5, -2.0, 1e300, 3.0],
    "INT32": [1, -2, 2**31 - 1, 0],
    "INT64": [1, -2, 2**63 - 1, 0],
    "BOOL": [True, False, True, True],
    "BYTES": ["EWR", "", "größe", "x" * 300],
}
SPECS = {
    kind.lower(): InputSpec.model_validate({"name": kind.lower(), "datatype": kind, "shape": (2,)}) for kind in VALUES
}
NUMPY = {"FP32": "f4", "FP64": "f8", "INT32": "i4", "INT64": "i8", "BOOL": "?", "BYTES": "O"}


def asked(request: Any, specs: dict[str, InputSpec] = SPECS) -> dict[str, Any]:
    """The tensors that a request's bytes become."""
    ours = grpc_messages.ModelInferRequest.FromString(request.SerializeToString())
    return check(given_of(ours, specs), Caller(), (), specs, {"late": 1}).inputs


def by_triton() -> Any:
    """The request of Triton's client for all datatypes, two rows of two values."""
    tensors = []
    for kind, values in VALUES.items():
        plain = [value.encode() for value in values] if kind == "BYTES" else values
        tensor = triton.InferInput(kind.lower(), [2, 2], kind)
        tensor.set_data_from_numpy(np.array(plain, dtype=NUMPY[kind]).reshape(2, 2))
        tensors.append(tensor)
    from tritonclient.grpc._utils import _get_inference_request as made

    return made("m", tensors, "", "", None, 0, False, False, 0, None, None)


def typed() -> Any:
    request = service_pb2.ModelInferRequest()
    for kind, values in VALUES.items():
        plain = [value.encode() for value in values] if kind == "BYTES" else values
        contents = service_pb2.InferTensorContents(**{FIELDS[kind]: plain})
        request.inputs.add(name=kind.lower(), datatype=kind, shape=[2, 2], contents=contents)
    return request


@pytest.mark.parametrize("make", [by_triton, typed])
def test_every_datatype_arrives_raw_and_typed(make: Any) -> None:
    tensors = asked(make())
    for kind, values in VALUES.items():
        assert tensors[kind.lower()].tolist() == [values[:2], values[2:]]
        assert tensors[kind.lower()].dtype == np.dtype(NUMPY[kind])


def test_the_messages_are_those_of_the_protocol() -> None:
    """Names, numbers, types and repetition, against the messages that Triton's client was generated with."""
    for name, kind in grpc_messages.__dict__.items():
        if not name.endswith(("Request", "Response")):
            continue
        compare(kind.DESCRIPTOR, getattr(service_pb2, name).DESCRIPTOR, set())


def compare(ours: Any, theirs: Any, seen: set[str]) -> None:
    numbers = {field.number: field for field in theirs.fields}
    for field in ours.fields:
        other = numbers[field.number]
        assert (field.name, field.type, field.is_repeated) == (other.name, other.type, other.is_repeated)
        assert (field.containing_oneof is None) == (other.containing_oneof is None)
        if field.message_type is not None and field.message_type.name not in seen:
            seen.add(field.message_type.name)
            compare(field.message_type, other.message_type, seen)


lengths = st.integers(-(2**63), 2**63 - 1) | st.integers(-1, 3)
contents = st.fixed_dictionaries(
    {},
    optional={
        "bool_contents": st.lists(st.booleans(), max_size=5),
        "int_contents": st.lists(st.integers(-5, 5), max_size=5),
        "int64_contents": st.lists(st.integers(-5, 5), max_size=5),
        "uint_contents": st.lists(st.integers(0, 5), max_size=5),
        "uint64_contents": st.lists(st.integers(0, 5), max_size=5),
        "fp32_contents": st.lists(st.floats(width=32), max_size=5),
        "fp64_contents": st.lists(st.floats(), max_size=5),
        "bytes_contents": st.lists(st.binary(max_size=5), max_size=5),
    },
)
tensors = st.fixed_dictionaries(
    {
        "name": st.sampled_from([*SPECS, "other", ""]),
        "datatype": st.sampled_from([*VALUES, "FP16", ""]) | st.text(max_size=3),
        "shape": st.lists(lengths, max_size=10) | st.just([2, 2]) | st.just([1, 2]),
        "contents": contents,
    }
)
raws = st.lists(st.binary(max_size=40), max_size=4)


@settings(max_examples=400, deadline=None)
@given(st.lists(tensors, max_size=4), raws)
def test_whatever_is_said_is_refused_or_has_the_shape_that_is_known(inputs: list[Any], raw: list[bytes]) -> None:
    optional = {name: spec.model_copy(update={"required": False}) for name, spec in SPECS.items()}
    request = service_pb2.ModelInferRequest(inputs=inputs, raw_input_contents=raw)
    try:
        found = asked(request, optional)
    except BadInput:
        return
    rows = inputs[0]["shape"][0]
    for name, tensor in found.items():
        assert tensor.shape == (rows, 2)
        assert tensor.dtype == np.dtype(NUMPY[SPECS[name].datatype])
    for tensor in inputs:
        assert tensor["datatype"] == SPECS[tensor["name"]].datatype
        assert not raw or not any(tensor["contents"].values())


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_spoilt_message_is_refused_or_read_as_what_it_says(data: st.DataObject) -> None:
    good = data.draw(st.sampled_from([by_triton(), typed()])).SerializeToString()
    at = data.draw(st.integers(0, len(good) - 1))
    spoilt = good[:at] + data.draw(st.binary(max_size=3)) + good[at + data.draw(st.integers(0, 3)) :]
    from google.protobuf.message import DecodeError

    try:
        request = grpc_messages.ModelInferRequest.FromString(spoilt)
        found = check(given_of(request, SPECS), Caller(), (), SPECS, {"late": 1}).inputs
    except (DecodeError, BadInput):
        return
    assert {name: tensor.shape[1:] for name, tensor in found.items()} == dict.fromkeys(SPECS, (2,))


def test_raw_bytes_and_typed_contents_together_are_refused() -> None:
    request = by_triton()
    request.inputs[0].contents.fp32_contents.extend([1.0, 2.0, 3.0, 4.0])
    with pytest.raises(BadInput, match="'fp32' has fp32_contents beside raw_input_contents"):
        asked(request)
