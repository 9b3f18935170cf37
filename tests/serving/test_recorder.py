"""Rows that were acknowledged are in the log, whatever happens to the process or the disk."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from serinus.records import LabelRow, Mark, encode_row, hour_of, read_rows
from serving.marks import Marks
from serving.recorder import LogWriter, make_folder, partition_of, replace_file
from serving.recording import Recorder

HOUR = "20130401T00"
CHILD = """
import sys
from pathlib import Path
from serinus.records import LabelRow, encode_row
from serving.recorder import LogWriter
writer, number = LogWriter(Path(sys.argv[1]), "labels", "child"), 0
while True:
    writer.append("m", "20130401T00", encode_row(LabelRow(b"i" * 16, number, "t" * (number % 900), 1.0, 0)))
    print(number, flush=True)
    number += 1
"""


def row(index: int) -> LabelRow:
    return LabelRow(b"i" * 16, index, "late", 1.0, 0)


def indexes(path: Path) -> list[int]:
    return [msgspec.msgpack.decode(payload, type=LabelRow).index for _end, payload in read_rows(path.read_bytes())]


def test_every_row_that_a_killed_process_acknowledged_is_readable(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    acknowledged = [int(child.stdout.readline()) for _ in range(500)]
    child.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in child.stdout.read().splitlines()]
    child.wait()
    found = indexes(tmp_path / "labels" / "m" / HOUR / "child.log")
    assert found[: len(acknowledged)] == acknowledged
    assert len(found) <= len(acknowledged) + 1  # the one that was written but not yet told of


def test_a_torn_frame_hides_nothing_before_it(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path, "labels", "w")
    for index in range(3):
        writer.append("m", HOUR, encode_row(row(index)))
    path = tmp_path / "labels" / "m" / HOUR / "w.log"
    whole = path.read_bytes()
    for cut in range(1, len(encode_row(row(2)))):
        path.write_bytes(whole[:-cut])
        assert indexes(path) == [0, 1]


def test_a_write_that_the_disk_cuts_short_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = LogWriter(tmp_path, "labels", "w")
    writer.append("m", HOUR, encode_row(row(0)))
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:10]))
    with pytest.raises(OSError, match="only 10 of"):
        writer.append("m", HOUR, encode_row(row(1)))
    monkeypatch.undo()
    writer.append("m", HOUR, encode_row(row(2)))
    assert indexes(tmp_path / "labels" / "m" / HOUR / "w.log") == [0, 2]


def test_after_a_failed_fsync_another_file_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_fd: int) -> None:
        raise OSError(errno.EIO, "the disk is gone")

    writer = LogWriter(tmp_path, "labels", "w")
    writer.append("m", HOUR, encode_row(row(0)))
    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        writer.sync()
    monkeypatch.undo()
    writer.append("m", HOUR, encode_row(row(0)))
    writer.sync()
    assert indexes(tmp_path / "labels" / "m" / HOUR / "w-1.log") == [0]


def test_the_number_of_open_files_is_bounded_and_a_file_goes_on_where_it_was(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path, "predictions", "w", max_open=3)
    for index in range(20):
        writer.append("m", f"2013040{1 + index % 5}T00", encode_row(row(index)))
    open_files = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _exists(fd)]
    assert sum(str(tmp_path) in name for name in open_files) == 3
    assert indexes(tmp_path / "predictions" / "m" / "20130402T00" / "w.log") == [1, 6, 11, 16]
    writer.close()


def _exists(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


@pytest.mark.parametrize("event_ms", [0, 3_599_999, 3_600_000, 1_365_000_000_123])
def test_the_remembered_partition_is_that_of_the_records(event_ms: int) -> None:
    assert partition_of(event_ms) == hour_of(event_ms)


def test_a_replaced_file_is_never_half_there(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.json"
    for text in (b"one", b"two"):
        replace_file(path, text, durable=True)
        assert path.read_bytes() == text
    assert list(path.parent.iterdir()) == [path]
    make_folder(path.parent)


def test_a_mark_tells_what_is_outstanding_lost_and_complete(tmp_path: Path) -> None:
    async def story() -> list[Mark]:
        recorder = Recorder(tmp_path, "w", 1 << 20)
        recorder.start()
        marks = Marks(recorder, "w", 0.01)
        state, found = marks.of("m"), []
        first, second = state.begin(500), state.begin(300)
        state.lose("predictions", 125_000, 2)
        state.complete("airport", 1000, 77)
        state.complete("airport", 900, 88)
        state.complete("airport", 1000, 99)
        for number in (second, first):
            await marks.write("m", durable=True)
            found.append(msgspec.json.decode((tmp_path / "marks/m/w.json").read_bytes(), type=Mark))
            state.end(number)
        await marks.write_all()
        found.append(msgspec.json.decode((tmp_path / "marks/m/w.json").read_bytes(), type=Mark))
        await recorder.close()
        return found

    before, between, after = asyncio.run(story())
    assert [mark.outstanding_ms for mark in (before, between, after)] == [300, 500, None]
    assert (before.lost, before.lost_by_minute) == ({"predictions": 2}, {2: 2})
    assert (before.complete_to_ms, before.complete_at_ms) == ({"airport": 1000}, {"airport": 77})
    assert before.wall_ms <= between.wall_ms <= after.wall_ms
