"""Rows of the logs, and how they lie on disk.

    LOG/predictions/MODEL/HOUR/WRITER.log    HOUR: event time of the prediction, YYYYMMDDTHH, UTC
    LOG/inputs/MODEL/HOUR/WRITER.log         what those predictions were made from, where the model's SLA asks for it
    LOG/labels/MODEL/HOUR/WRITER.log         HOUR: that of the prediction which it labels
    LOG/marks/MODEL/WRITER.json              the writer's progress, replaced as a whole

A log is a magic line and then frames: u32 length, u32 CRC-32 of the payload (little endian), payload: one row in
msgpack, fields in order. A frame is written by one append, so a torn one can only be the last of its file: readers stop
before it. A row's number in its file is its sequence: (writer, hour, sequence) names it for good.
"""

from __future__ import annotations

import itertools
import re
import struct
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec

__all__ = [
    "MAGIC",
    "Arm",
    "InputRow",
    "InputTensor",
    "Kind",
    "LabelRow",
    "Mark",
    "PredictionRow",
    "Score",
    "encode_row",
    "hour_of",
    "log_folder",
    "read_rows",
]

MAGIC = b"serinus-log 1\n"
Arm = Literal["stable", "control", "canary", "shadow"]
Kind = Literal["predictions", "labels", "inputs"]
Ident = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""What columns can hold: whoever decodes a row is told where it holds something else."""
_HEAD = struct.Struct("<II")
MAX_ROW_BYTES = 1 << 20


class Score(msgspec.Struct, array_like=True, frozen=True):
    """One task's answer: the version that was meant to give it, and what stood in for it, if anything.

    `value`: the probability, or the number that a regression task predicts; of a multiclass task the probability of
    the likeliest class. `fallback`: "" when the version answered, else "stable" (the candidate failed) or the head's
    fallback. `classes`: of a multiclass task the probability of each class, little-endian float32; else empty."""

    task: str
    value: float
    version: Whole
    fallback: str = ""
    classes: bytes = b""


class PredictionRow(msgspec.Struct, array_like=True, frozen=True):
    """One row of one answer, or of one shadow answer. `id`: 16 bytes, UUIDv7 of the event time.

    `share`: of the entities that were recorded when this row was written, so 1/share is its weight."""

    id: Ident
    index: Whole
    arm: Arm
    entity: str
    rollout: str
    epoch: Whole
    scores: list[Score]
    slices: dict[str, str]
    latency_us: Whole
    share: float = 1.0


class InputTensor(msgspec.Struct, array_like=True, frozen=True):
    """One raw input of a request. `data`: little-endian values in row order, or texts for BYTES."""

    name: str
    datatype: str
    shape: list[int]
    data: bytes | list[str]


class InputRow(msgspec.Struct, array_like=True, frozen=True):
    """The raw inputs of one request, all its rows. `share`: of the entities whose inputs were recorded."""

    id: Ident
    entity: str
    rows: Whole
    tensors: list[InputTensor]
    share: float = 1.0


class LabelRow(msgspec.Struct, array_like=True, frozen=True):
    """The label of one task of one row. `known_ms`: event time at which it became known."""

    id: Ident
    index: Whole
    task: str
    value: float
    known_ms: Whole


class Mark(msgspec.Struct, frozen=True):
    """How far one writer is; replaced several times a second while it lives.

    wall_ms           when it was written
    complete_to_ms    label source -> event time up to which the source says that it has sent every label
    complete_at_ms    label source -> wall time at which it said so
    complete_tasks    label source -> the tasks that it speaks for; all tasks where it names none
    newest_ms         event time of the newest request that was answered; None before the first
    outstanding_ms    event time of the oldest shadow copy not yet recorded or dropped; None when there is none
    lost              rows that could not be written, and shadow copies that were dropped; "shadow_limited" counts
                      copies that were never made, for the rate limit of shadow traffic: thinned, not lost
    lost_by_minute    event minute (Unix ms // 60,000) -> rows of answers ("predictions") that could not be written
    ended             the writer has stopped, and all that it answered is in the log: nobody need wait for it"""

    writer: str
    wall_ms: int
    complete_to_ms: dict[str, int] = {}
    complete_at_ms: dict[str, int] = {}
    outstanding_ms: int | None = None
    lost: dict[str, int] = {}
    lost_by_minute: dict[int, int] = {}
    ended: bool = False
    complete_tasks: dict[str, list[str]] = {}
    newest_ms: int | None = None


def hour_of(event_ms: int) -> str:
    """The partition of an event time (Unix milliseconds): YYYYMMDDTHH, UTC."""
    return datetime.fromtimestamp(event_ms / 1000, UTC).strftime("%Y%m%dT%H")


def log_folder(root: Path, kind: Kind, model: str, hour: str) -> Path:
    return root / kind / model / hour


_encoder = msgspec.msgpack.Encoder()


def encode_row(row: PredictionRow | LabelRow | InputRow) -> bytes:
    """The frame of a row, to be appended by one write."""
    payload = _encoder.encode(row)
    return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def read_rows(data: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Whole frames of a log from byte `start` (0: the magic line): (byte after the frame, payload).

    Ends before a torn last frame. Raises ValueError at a frame that is not what was written, also where its damaged
    length says that it ends behind the file."""
    at = start
    if at == 0:
        if not data.startswith(MAGIC):
            if MAGIC.startswith(data):
                return
            raise ValueError("not a log of a format that is known here")
        at = len(MAGIC)
    while at + _HEAD.size <= len(data):
        length, crc = _HEAD.unpack_from(data, at)
        if length > MAX_ROW_BYTES:
            raise ValueError(f"the frame at byte {at} says {length} bytes")
        end = at + _HEAD.size + length
        if end > len(data):
            if not _is_torn(bytes(data[at:])):
                raise ValueError(f"the frame at byte {at} says {length} bytes, but is shorter")
            return
        payload = data[at + _HEAD.size : end]
        if zlib.crc32(payload) != crc:
            raise ValueError(f"the frame at byte {at} has another CRC than it was written with")
        at = end
        yield end, payload


_FRAME = re.compile(rb"(?=[\x90-\x9f]\xc4\x10)")
"""How every payload begins: an array whose first field is 16 bytes."""
_TRIES = 64


def _is_torn(tail: bytes) -> bool:
    """Whether the last frame of a file may yet become whole: no frame is whole in it, with its own or another length.

    One append cut short leaves the beginning of one frame; frames after it mean that its length is not what was
    written."""
    return not any(
        _whole(tail, found.start() - _HEAD.size) or (found.start() == _HEAD.size and _whole(tail, 0, len(tail)))
        for found in itertools.islice(_FRAME.finditer(tail, _HEAD.size), _TRIES)
    )


def _whole(tail: bytes, at: int, end: int | None = None) -> bool:
    length, crc = _HEAD.unpack_from(tail, at)
    end = at + _HEAD.size + length if end is None else end
    return end <= len(tail) and zlib.crc32(tail[at + _HEAD.size : end]) == crc
