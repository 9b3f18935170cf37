"""Whatever comes in, the answer is one or a 4xx that says what is wrong: parsers alone, and the real stack."""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from serinus.errors import BadInput, TooLarge, Unsupported
from serinus.tasks import InputSpec
from serving.ask import MAX_BODY_BYTES
from serving.binary import divided
from serving.compression import packed, unpacked
from serving.protocol import parse

ROOT = Path(__file__).resolve().parents[2]
SPECS = {
    spec.name: spec
    for spec in (
        InputSpec(name="origin", datatype="BYTES", nullable=True, required=False),
        InputSpec(name="delay", datatype="FP32", nullable=True, required=False),
        InputSpec(name="hour", datatype="INT64", required=False),
        InputSpec(name="place", datatype="FP64", shape=(2,), required=False),
        InputSpec(name="night", datatype="BOOL", required=False),
    )
}
TASKS = {"late": 1, "cancelled": 1}

numbers = st.sampled_from([0, 1, 2, 3, 4, 8, 16, -1, 2**31, 2**63, 2**70]) | st.integers()
leaves = st.none() | st.booleans() | numbers | st.floats() | st.text(max_size=8)
anything = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
tensor_parameters = st.fixed_dictionaries(
    {}, optional={"binary_data_size": numbers, "shared_memory_region": anything, "x": anything}
)
tensors = st.fixed_dictionaries(
    {
        "name": st.sampled_from([*SPECS, "unknown"]),
        "shape": st.lists(numbers, max_size=3) | st.just([2]) | st.just([2, 2]),
        "datatype": st.sampled_from(["BYTES", "FP32", "FP64", "INT32", "INT64", "BOOL", "FP16", "UINT8", ""]),
    },
    optional={"data": st.lists(leaves | st.lists(leaves, max_size=3), max_size=4), "parameters": tensor_parameters},
)
outputs = st.fixed_dictionaries(
    {"name": st.sampled_from([*TASKS, "x"])},
    optional={"parameters": st.fixed_dictionaries({}, optional={"binary_data": leaves, "classification": leaves})},
)
parameters = st.fixed_dictionaries(
    {},
    optional={
        "entity": leaves,
        "event_time_ms": numbers,
        "join_key": leaves,
        "attributes": anything,
        "timeout": numbers,
        "binary_data_output": leaves,
        "priority": anything,
    },
)
requests = st.fixed_dictionaries(
    {"inputs": st.lists(tensors, max_size=4)},
    optional={"id": leaves, "outputs": st.lists(outputs, max_size=3) | anything, "parameters": parameters | anything},
)
tails = st.binary(max_size=64) | st.sampled_from(
    [b"\0" * 8, b"\1\0\0\0a" * 2, b"\xff\xff\xff\xff" * 4, b"\xff\xff\xff\x7f"]
)
headers = st.none() | st.sampled_from(["", "-1", "+1", "0", "7", "99999999999", "1e3", "٣", "0x10"]) | numbers.map(str)


def body_of(request: Any, tail: bytes, header: str | None) -> tuple[bytes, bytes]:
    """(The body, the header); None stands for the true length."""
    said = json.dumps(request).encode()
    return said + tail, (str(len(said)) if header is None else header).encode()


@settings(max_examples=400)
@given(requests | anything, tails, headers)
def test_tensors_in_bytes_are_arrays_or_refused(request: Any, tail: bytes, header: str | None) -> None:
    body, said = body_of(request, tail, header)
    try:
        text, rest = divided(body, said)
        ask, binary = parse(text, SPECS, TASKS, rest)
    except BadInput as refused:
        event(refused.detail[:20])
        return
    assert ask.inputs.keys() == SPECS.keys()
    assert set(binary) <= set(TASKS)
    for name, spec in SPECS.items():
        assert ask.inputs[name].shape == (ask.rows, *spec.shape)


@given(st.lists(st.text(max_size=9), min_size=1, max_size=9), st.data())
def test_tensors_in_bytes_mean_what_they_mean_in_json(texts: list[str], data: Any) -> None:
    rows = len(texts)
    floats = data.draw(st.lists(st.floats(width=32, allow_infinity=False), min_size=rows, max_size=rows))
    whole = data.draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=rows, max_size=rows))
    nights = data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows))
    encoded = [text.encode() for text in texts]
    columns = [
        ("origin", "BYTES", [rows], b"".join(len(e).to_bytes(4, "little") + e for e in encoded)),
        ("delay", "FP32", [rows], np.array(floats, "<f4").tobytes()),
        ("hour", "INT64", [rows], np.array(whole, "<i8").tobytes()),
        ("place", "FP64", [rows, 2], np.zeros((rows, 2), "<f8").tobytes()),
        ("night", "BOOL", [rows], bytes(nights)),
    ]
    inputs = [
        {"name": name, "datatype": kind, "shape": shape, "parameters": {"binary_data_size": len(raw)}}
        for name, kind, shape, raw in columns
    ]
    body, header = body_of({"inputs": inputs}, b"".join(raw for *_, raw in columns), None)
    text, rest = divided(body, header)
    ask, _ = parse(text, SPECS, TASKS, rest)
    assert ask.inputs["origin"].tolist() == texts
    assert np.array_equal(ask.inputs["delay"], np.array(floats, np.float32), equal_nan=True)
    assert ask.inputs["hour"].tolist() == whole
    assert ask.inputs["night"].tolist() == nights


@given(st.binary(max_size=300), st.sampled_from([b"gzip", b"deflate", b"identity", b"br", b"gzip, gzip", b"\xff"]))
def test_any_bytes_are_unpacked_or_refused(body: bytes, coding: bytes) -> None:
    with contextlib.suppress(BadInput, TooLarge, Unsupported):
        unpacked(body, coding)


@given(st.binary(min_size=1, max_size=64), st.integers(1 << 12, 1 << 16), st.sampled_from([b"gzip", b"deflate"]))
def test_what_was_packed_is_unpacked_again(some: bytes, times: int, coding: bytes) -> None:
    body = some * times
    found, said = packed(body, coding + b";q=1")
    if len(body) <= MAX_BODY_BYTES:
        assert unpacked(found, said) == body


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        (b"gzip, deflate, br", b"gzip"),
        (b"deflate", b"deflate"),
        (b"gzip;q=0, deflate;q=0.5", b"deflate"),
        (b"gzip;q=0.0", b""),
        (b"br", b""),
        (b"", b""),
        (b"\xff;;;,,q=", b""),
    ],
)
def test_answers_are_packed_as_they_are_accepted(accepted: bytes, coding: bytes) -> None:
    assert packed(b" " * 100_000, accepted)[1] == coding
    assert packed(b" " * 100, accepted)[1] == b""


def test_a_bomb_takes_no_more_memory_than_a_body_may() -> None:
    pack = zlib.compressobj(9)
    bomb = b"".join(pack.compress(b"\0" * (64 << 20)) for _ in range(16)) + pack.flush()  # 1 GiB in 1 MiB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TooLarge, match="once it is unpacked"):
        unpacked(bomb, b"deflate")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


@pytest.mark.parametrize(
    ("name", "good", "bad"), [("hour", 7, 2**70), ("hour", 7, 7.5), ("delay", 1.5, 10**400), ("delay", 1, 1e39)]
)
def test_one_value_that_does_not_fit_is_named_by_its_row(name: str, good: Any, bad: Any) -> None:
    data = [good] * 900 + [bad] + [good] * 99
    request = {"inputs": [{"name": name, "shape": [1000], "datatype": SPECS[name].datatype, "data": data}]}
    with pytest.raises(BadInput, match="row 900 of input"):
        parse(json.dumps(request).encode(), SPECS, TASKS)


def test_millions_of_lists_are_refused_before_they_are_made() -> None:
    data = b"[]," * 2_700_000 + b"[]"
    body = b'{"inputs":[{"name":"place","shape":[1,2],"datatype":"FP64","data":[%b]}]}' % data
    assert len(body) < MAX_BODY_BYTES
    with pytest.raises(BadInput, match="more than 100000 lists"):
        parse(body, SPECS, TASKS)


def test_a_coverage_guided_fuzzer_finds_nothing_in_the_parsers(tmp_path: Path) -> None:
    pytest.importorskip("atheris")
    request = b'{"inputs":[{"name":"b","shape":[1],"datatype":"FP32","data":[1]}]}'
    (tmp_path / "seed").write_bytes(b"\0\0\0" + request)
    command = [sys.executable, "-m", "tests.serving.fuzz_parsers", "-runs=20000", "-seed=1", "-max_len=2048", tmp_path]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "Done 20000 runs" in ran.stderr


@pytest.fixture(scope="module")
def flights(stack: Any) -> Any:
    stack.route()
    return stack


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=64) | anything | requests,
    tails,
    st.none() | headers.map(lambda text: (text or "7").encode("latin-1", "replace")),
    st.sampled_from([b"", b"gzip", b"deflate", b"br"]),
    st.booleans(),
    st.sampled_from(["infer", "rank", "versions/1/infer"]),
)
def test_the_stack_answers_or_refuses_whatever_comes(
    flights: Any, said: Any, tail: bytes, header: bytes | None, coding: bytes, honest: bool, what: str
) -> None:
    body = said if isinstance(said, bytes) else json.dumps(said).encode() + tail
    if honest and coding in (b"gzip", b"deflate"):
        pack = zlib.compressobj(wbits=31 if coding == b"gzip" else 15)
        body = pack.compress(body) + pack.flush()
    sent = {b"content-encoding": coding} if coding else {}
    if header is not None:
        sent[b"inference-header-content-length"] = header
    answer = flights.http.post(f"/v2/models/flights/{what}", content=body, headers=sent)
    assert answer.status_code == 200 or 400 <= answer.status_code < 500, answer.text
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"]
