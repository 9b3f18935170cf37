"""What the tests of compaction share: rows, written as the serving does, and read from frames and Parquet."""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq

from serinus.archive import read_whole
from serinus.archive_rows import rows_of
from serinus.ids import uuid7
from serinus.records import (
    InputRow,
    Kind,
    LabelRow,
    PredictionRow,
    Score,
    encode_row,
    hour_of,
    log_folder,
    read_rows,
)
from serving.recorder import LogWriter

START = 240 * 3_600_000
HOUR_MS = 3_600_000
TYPES: dict[str, Any] = {"predictions": PredictionRow, "labels": LabelRow, "inputs": InputRow}
LATER = time.time() + 10_000


def identity(number: int, event_ms: int = START) -> bytes:
    return uuid7(event_ms, number.to_bytes(10, "big")).bytes


def prediction(number: int, event_ms: int = START) -> PredictionRow:
    classes = struct.pack("<3f", 0.25, 0.5, 0.25)
    some = [Score(f"t{at}", number / 7, at, "stable" if at else "", classes if at else b"") for at in range(number % 3)]
    slices = {"country": "BR", "no": str(number)} if number % 2 else {}
    return PredictionRow(identity(number, event_ms), 0, "canary", f"u{number % 9}", "r1", 3, some, slices, 9, 0.5)


def rows(root: Path, kind: Kind, hour: str = hour_of(START)) -> list[Any]:
    """All rows of an hour of model m, frames and Parquet."""

    def read(pieces: list[Any]) -> list[Any]:
        found: list[Any] = []
        for piece in pieces:
            if piece.archived:
                found += rows_of(kind, pq.read_table(piece.path))
            else:
                data, shift = piece.path.read_bytes()[piece.start :], 1 if piece.start else 0
                frames = read_rows(b"\0" * shift + data, shift)
                found += [msgspec.msgpack.decode(payload, type=TYPES[kind]) for _end, payload in frames]
        return found

    return sorted(read_whole(log_folder(root, kind, "m", hour), read), key=lambda row: (row.id, repr(row)))


def write(root: Path, kind: Kind, writer: str, what: list[Any], event_ms: int = START) -> LogWriter:
    log = LogWriter(root, kind, writer)
    for row in what:
        log.append("m", hour_of(event_ms), encode_row(row))
    return log


def folder(root: Path, kind: Kind = "predictions") -> Path:
    return log_folder(root, kind, "m", hour_of(START))


def suffixes(root: Path, kind: Kind = "predictions") -> list[str]:
    return sorted(path.suffix for path in folder(root, kind).iterdir())
