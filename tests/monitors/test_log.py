"""Reading what is being written, and what is broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from monitors.follower import read_tick
from monitors.log import LogReader
from monitors.portion import Portion
from serinus.archive import Archive, metadata
from serinus.archive_rows import table_of
from serinus.evidence import WorkItem
from serinus.ids import uuid7
from serinus.records import (
    MAGIC,
    InputRow,
    InputTensor,
    LabelRow,
    PredictionRow,
    Score,
    encode_row,
    hour_of,
    log_folder,
)

T0 = 240 * 3_600_000
Write = Callable[..., None]


def row(number: int, event_ms: int = T0 + 5) -> PredictionRow:
    scores = [Score("click", 0.5, 1)]
    return PredictionRow(uuid7(event_ms, number.to_bytes(10, "big")).bytes, 0, "stable", "u", "r1", 1, scores, {}, 7)


def count(reader: LogReader, start: int = T0, end: int = T0 + 3_600_000) -> int:
    return len(reader.predictions(start, end)[0])


def path_of(root: Path) -> Path:
    return log_folder(root, "predictions", "ads", hour_of(T0)) / "w0.log"


def test_a_growing_file_is_read_once(tmp_path: Path, write_log: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = LogReader(tmp_path, "ads", ())
    assert count(reader) == 0
    for at in range(30):
        write_log(tmp_path, "ads", [row(at)])
        assert count(reader) == at + 1
    assert count(reader, T0 + 6) == 0
    assert count(LogReader(tmp_path, "ads", ())) == 30


def test_a_torn_frame_is_waited_for(tmp_path: Path, write_log: Write) -> None:
    write_log(tmp_path, "ads", [row(1)])
    frame, path, reader = encode_row(row(2)), path_of(tmp_path), LogReader(tmp_path, "ads", ())
    for at in range(len(frame)):
        with path.open("ab") as file:
            file.write(frame[at : at + 1])
        assert count(reader) == (1 if at < len(frame) - 1 else 2)
    assert reader.predictions(T0, T0 + 9)[1] == ()


@pytest.mark.parametrize("part", [b"\xff" * 40, encode_row(row(2))[:-1] + b"\x01" + encode_row(row(3))])
def test_a_corrupt_file_counts_up_to_its_bad_frame_and_is_named(tmp_path: Path, write_log: Write, part: bytes) -> None:
    write_log(tmp_path, "ads", [row(1)])
    write_log(tmp_path, "ads", [row(4)], writer="w1")
    with path_of(tmp_path).open("ab") as file:
        file.write(part)
    reader = LogReader(tmp_path, "ads", ())
    for _ in range(2):
        rows, broken = reader.predictions(T0, T0 + 3_600_000)
        assert len(rows) == 2
        assert broken == (f"predictions/ads/{hour_of(T0)}/w0.log",)


def test_a_whole_frame_that_is_no_row_ends_its_file_too(tmp_path: Path, write_log: Write) -> None:
    label = LabelRow(row(2).id, 0, "click", 1.0, T0 + 9)
    path = path_of(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(MAGIC + encode_row(row(1)) + encode_row(label) + encode_row(row(3)))
    rows, broken = LogReader(tmp_path, "ads", ()).predictions(T0, T0 + 3_600_000)
    assert len(rows) == 1
    assert len(broken) == 1


def test_a_corrupt_file_is_counted_in_the_evidence(tmp_path: Path, write_log: Write, item: WorkItem) -> None:
    write_log(tmp_path, "ads", [row(1)])
    with path_of(tmp_path).open("ab") as file:
        file.write(b"\xff" * 40)
    tick = read_tick(item, LogReader(tmp_path, "ads", ("country",)), T0, T0 + 3_600_000)
    assert tick.corrupt == (f"predictions/ads/{hour_of(T0)}/w0.log",)


def test_files_that_are_not_needed_now_leave_a_full_cache(tmp_path: Path, write_log: Write) -> None:
    hours = [T0 + at * 3_600_000 for at in range(5)]
    for hour in hours:
        write_log(tmp_path, "ads", [row(at, hour + at) for at in range(10)])
    reader = LogReader(tmp_path, "ads", (), cached_rows=15)
    for hour in (*hours, *hours):
        assert count(reader, hour, hour + 3_600_000) == 10
        assert sum(file.rows for file in reader._predictions.files.values()) <= 15
    assert count(reader, T0, hours[-1] + 3_600_000) == 50


def test_inputs_come_with_their_tensors_from_frames_and_parquet(tmp_path: Path) -> None:
    def raw(number: int) -> InputRow:
        tensors = [InputTensor("age", "FP32", [1, 1], b"\0\0\x80?"), InputTensor("city", "BYTES", [1, 1], ["Köln"])]
        return InputRow(row(number, T0 + number * 1000).id, f"u{number}", 1, tensors, 0.5)

    folder = log_folder(tmp_path, "inputs", "ads", hour_of(T0))
    folder.mkdir(parents=True)
    archived, young = [raw(at) for at in range(3)], [raw(at) for at in range(3, 6)]
    pq.write_table(
        table_of("inputs", archived, [("w0", at) for at in range(3)]).replace_schema_metadata(metadata(Archive([]))),
        folder / "a.parquet",
    )
    (folder / "w1.log").write_bytes(MAGIC + b"".join(map(encode_row, young)) + b"\xff" * 40)
    rows, broken = LogReader(tmp_path, "ads", ()).inputs(T0 + 1000, T0 + 5000)
    assert sorted(rows, key=lambda each: each.id) == [*archived[1:], *young[:2]]
    assert broken == (f"inputs/ads/{hour_of(T0)}/w1.log",)


@pytest.mark.parametrize("of", [1, 2, 3, 7])
def test_portions_hold_every_row_once_from_frames_and_parquet(tmp_path: Path, write_log: Write, of: int) -> None:
    rows = [row(at, T0 + at * 37_000) for at in range(95)]
    folder = path_of(tmp_path).parent
    folder.mkdir(parents=True)
    archived = table_of("predictions", rows[:40], [("w0", at) for at in range(40)])
    archived = archived.replace_schema_metadata(metadata(Archive([])))
    pq.write_table(archived, folder / "a.parquet", row_group_size=7)
    write_log(tmp_path, "ads", rows[40:])
    found: list[tuple[int, int]] = []
    for portion in Portion.split(of, 600):
        reader = LogReader(tmp_path, "ads", (), portion=portion)
        for tick in range(0, 3_600_000, 600_000):
            part = reader.predictions(T0 + tick, T0 + tick + 600_000)[0]
            assert portion.holds(part.event_ms).all()
            found += zip(part.high.tolist(), part.low.tolist(), strict=True)
    whole = LogReader(tmp_path, "ads", ()).predictions(T0, T0 + 3_600_000)[0]
    assert len(found) == 95
    assert sorted(found) == sorted(zip(whole.high.tolist(), whole.low.tolist(), strict=True))


@pytest.mark.parametrize("bad", [{"id": b"short"}, {"index": 2**63}, {"id": bytes(17)}])
def test_a_row_that_columns_cannot_hold_is_none(tmp_path: Path, write_log: Write, bad: dict[str, object]) -> None:
    path = path_of(tmp_path)
    path.parent.mkdir(parents=True)
    strange = msgspec.structs.replace(row(2), **bad)
    path.write_bytes(MAGIC + encode_row(row(1)) + encode_row(strange) + encode_row(row(3)))
    rows, broken = LogReader(tmp_path, "ads", ()).predictions(T0, T0 + 3_600_000)
    assert (len(rows), len(broken)) == (1, 1)
