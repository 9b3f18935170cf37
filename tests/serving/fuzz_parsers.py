"""The parsers under a coverage-guided fuzzer: python -m tests.serving.fuzz_parsers -runs=1000000

Anything but an answer or a refusal ends it with the input that did it."""

from __future__ import annotations

import contextlib
import sys

import atheris

with atheris.instrument_imports(include=["serving.protocol", "serving.binary", "serving.tensors", "serving.ask"]):
    from serving.binary import divided
    from serving.protocol import parse

from serinus.errors import SerinusError
from serinus.tasks import InputSpec
from serving.compression import unpacked

SPECS = {
    spec.name: spec
    for spec in (
        InputSpec(name="a", datatype="BYTES", nullable=True, required=False),
        InputSpec(name="b", datatype="FP32", nullable=True, required=False),
        InputSpec(name="c", datatype="INT64", required=False),
        InputSpec(name="d", datatype="FP64", shape=(2,), required=False),
        InputSpec(name="e", datatype="BOOL", required=False),
    )
}
SEED = b'{"inputs":[{"name":"b","shape":[1],"datatype":"FP32","data":[1]}]}'
CODINGS = (b"", b"", b"", b"gzip", b"deflate")


def once(data: bytes) -> None:
    """The first byte chooses the coding, the second whether there is a header; its value is the third."""
    coding, header, rest = data[:1], data[1:3], data[3:]
    with contextlib.suppress(SerinusError):
        body = unpacked(rest, CODINGS[coding[0] % len(CODINGS)] if coding else b"")
        length = b"%d" % (len(SEED) + header[1] - 128) if len(header) == 2 and header[0] % 2 else b""
        text, tail = divided(body, length)
        parse(text, SPECS, {"late": 1}, tail)


def once_near(data: bytes) -> None:
    """As `once`, and as the binary tail of a request that is right but for it."""
    once(data)
    kind = data[:1]
    name, datatype, shape = (("a", "BYTES", [2]), ("c", "INT64", [2]), ("d", "FP64", [1, 2]))[
        kind[0] % 3 if kind else 0
    ]
    raw = data[1:]
    text = (
        f'{{"inputs":[{{"name":"{name}","shape":{shape},"datatype":"{datatype}",'
        f'"parameters":{{"binary_data_size":{len(raw)}}}}}]}}'
    ).encode()
    with contextlib.suppress(SerinusError):
        parse(text, SPECS, {"late": 1}, memoryview(raw))


if __name__ == "__main__":
    atheris.Setup(sys.argv, once_near)
    atheris.Fuzz()
