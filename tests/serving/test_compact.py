"""Closed hours become Parquet: no row is lost or doubled, whenever whoever does it is killed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serinus.archive_rows import schema
from serinus.records import (
    InputRow,
    InputTensor,
    Kind,
    LabelRow,
    Score,
    encode_row,
    hour_of,
)
from serving import archiver
from serving.archiver import Archiver
from serving.compact import KEEP_DAYS, run
from serving.membership import Membership
from serving.settings import Settings
from serving.upkeep import Upkeep
from tests.serving.archived import LATER, START, folder, identity, prediction, rows, suffixes, write

DYING = """
import os, sys
from pathlib import Path
left = int(sys.argv[2])

def counted(real):
    def call(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), 9)
        return real(*args, **kwargs)
    return call

for name in ("fsync", "utime", "unlink", "rename", "close", "rmdir"):
    setattr(os, name, counted(getattr(os, name)))
Path.rename, Path.unlink = counted(Path.rename), counted(Path.unlink)
from serving.archiver import Archiver
import pyarrow.parquet as pq
pq.ParquetWriter.write_table = counted(pq.ParquetWriter.write_table)
pq.ParquetWriter.close = counted(pq.ParquetWriter.close)
from serving import archiver
archiver.FILE_BYTES, archiver.GROUP_ROWS = 3_000, 20
Archiver(Path(sys.argv[1]), "predictions", 0.0).run(float(sys.argv[3]))
print("done")
"""


def test_rows_of_every_kind_are_as_they_were(tmp_path: Path) -> None:
    tensors = [
        InputTensor("x", "FP32", [2, 1], bytes(range(8))),
        InputTensor("city", "BYTES", [2], ["São Paulo", ""]),
        InputTensor("none", "BYTES", [0], []),
    ]
    written: dict[Kind, list[Any]] = {
        "predictions": [prediction(number) for number in range(50)],
        "labels": [LabelRow(identity(number), number % 3, "late", 1.0, START + number) for number in range(40)],
        "inputs": [InputRow(identity(number), "u", 2, tensors[: number % 4], 0.25) for number in range(30)],
    }
    for kind, what in written.items():
        write(tmp_path, kind, "w", what).close()
    before = {kind: rows(tmp_path, kind) for kind in written}
    assert run(tmp_path, 0.0, KEEP_DAYS | dict.fromkeys(KEEP_DAYS, 1e6), LATER) == 120
    for kind, what in written.items():
        assert suffixes(tmp_path, kind) == [".parquet"]
        assert rows(tmp_path, kind) == before[kind]
        table = pq.read_table(next(folder(tmp_path, kind).iterdir()))
        assert table.column("writer").to_pylist() == ["w"] * len(what)
        assert table.column("sequence").to_pylist() == list(range(len(what)))


def test_a_file_that_is_open_or_young_stays(tmp_path: Path) -> None:
    held = write(tmp_path, "predictions", "held", [prediction(1)])
    write(tmp_path, "predictions", "gone", [prediction(2)]).close()
    assert Archiver(folder(tmp_path), "predictions", 60.0).run(time.time()) == 0
    assert Archiver(folder(tmp_path), "predictions", 60.0).run(LATER) == 1
    assert suffixes(tmp_path) == [".log", ".parquet"]
    held.append("m", hour_of(START), encode_row(prediction(3)))
    held.close_idle(-1.0)
    assert Archiver(folder(tmp_path), "predictions", 60.0).run(LATER) == 2
    held.append("m", hour_of(START), encode_row(prediction(4)))  # a late row begins a file of a new name
    assert suffixes(tmp_path) == [".log", ".parquet", ".parquet"]
    assert rows(tmp_path, "predictions") == [prediction(number) for number in range(1, 5)]


def test_a_row_that_comes_while_its_file_is_compacted_goes_elsewhere(tmp_path: Path) -> None:
    log = write(tmp_path, "predictions", "w", [prediction(1)])
    log.close()
    (closed,) = folder(tmp_path).iterdir()
    import fcntl

    with closed.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        log.append("m", hour_of(START), encode_row(prediction(2)))
    assert sorted(path.name for path in folder(tmp_path).iterdir()) == ["w-1.log", "w.log"]


def test_a_broken_file_stays_and_a_torn_frame_is_no_row(tmp_path: Path) -> None:
    for name, end in (("torn", encode_row(prediction(9))[:-3]), ("broken", b"\xff" * 40)):
        write(tmp_path, "predictions", name, [prediction(len(name))]).close()
        with (folder(tmp_path) / f"{name}.log").open("ab") as file:
            file.write(end)
    assert Archiver(folder(tmp_path), "predictions", 0.0).run(LATER) == 1
    assert sorted(path.name for path in folder(tmp_path).glob("*.log")) == ["broken.log"]


def test_small_files_become_one_and_a_large_one_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        write(tmp_path, "predictions", f"w{number}", [prediction(number)]).close()
        Archiver(folder(tmp_path), "predictions", 0.0).run(LATER)
        assert len(suffixes(tmp_path)) <= archiver.MOST_SMALL
    assert rows(tmp_path, "predictions") == [prediction(number) for number in range(9)]
    monkeypatch.setattr(archiver, "FILE_BYTES", 2_000)
    monkeypatch.setattr(archiver, "GROUP_ROWS", 10)
    monkeypatch.setattr(archiver, "SMALL_BYTES", 0)
    write(tmp_path, "predictions", "large", [prediction(number) for number in range(100, 200)]).close()
    Archiver(folder(tmp_path), "predictions", 0.0).run(LATER)
    assert len(suffixes(tmp_path)) > 5
    assert len(rows(tmp_path, "predictions")) == 109


def test_files_of_before_a_column_was_added_become_one_with_newer_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def older(kind: Kind) -> pa.Schema:
        known = schema(kind)
        scores = [field for field in known.field("scores").type.value_type if field.name != "classes"]
        known = known.set(known.get_field_index("scores"), pa.field("scores", pa.list_(pa.struct(scores))))
        return known.remove(known.get_field_index("entity_hash"))

    wanted = [msgspec.structs.replace(prediction(number), scores=[Score("t", 0.5, 1)]) for number in range(3)]
    wanted.append(prediction(5))
    for number, row in enumerate(wanted):
        write(tmp_path, "predictions", f"w{number}", [row]).close()
        with monkeypatch.context() as patched:
            if number < 2:
                patched.setattr("serinus.archive_rows.schema", older)
                patched.setattr(archiver, "schema", older)
                patched.setattr("serinus.archive_files.schema", older)
            Archiver(folder(tmp_path), "predictions", 0).run(LATER)
    assert suffixes(tmp_path) == [".parquet"]
    assert rows(tmp_path, "predictions") == wanted


def test_killed_at_any_step_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    """Each step of a run, numbered: a system call that changes files, or a write of Parquet."""
    expected = [prediction(number) for number in range(75)]
    finished = steps = 0
    while not finished:
        steps += 3 if steps > 12 else 1
        root = tmp_path / str(steps)
        for number in range(3):  # three Parquet files already, so that this run merges too
            write(root, "predictions", f"old{number}", [expected[number]]).close()
            Archiver(folder(root), "predictions", 0.0).run(LATER)
        write(root, "predictions", "a", expected[3:50]).close()
        write(root, "predictions", "b", expected[50:]).close()
        command = [sys.executable, "-c", DYING, str(folder(root)), str(steps), str(LATER)]
        process = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, check=False)
        finished = process.stdout == b"done\n"
        assert finished or process.returncode == -9, process.stderr.decode()
        assert rows(root, "predictions") == expected, f"killed at step {steps}"
        Archiver(folder(root), "predictions", 0.0).run(LATER)
        assert rows(root, "predictions") == expected, f"a run after a kill at step {steps}"
        assert set(suffixes(root)) == {".parquet"}
    assert steps > 20


def test_labels_of_requests_in_parquet_are_known(tmp_path: Path) -> None:
    write(tmp_path, "predictions", "w", [prediction(1)]).close()
    membership, hour = Membership(tmp_path), hour_of(START)
    assert membership.rows_of("m", hour, identity(1), set()) == 1
    Archiver(folder(tmp_path), "predictions", 0.0).run(LATER)
    write(tmp_path, "predictions", "v", [prediction(2)]).close()
    for each in (membership, Membership(tmp_path)):
        assert [each.rows_of("m", hour, identity(number), set()) for number in (1, 2, 3)] == [1, 1, 0]


def test_a_round_is_a_process_and_only_one_at_a_time(tmp_path: Path) -> None:
    import fcntl

    write(tmp_path, "predictions", "w", [prediction(1, int(time.time() * 1000))], int(time.time() * 1000)).close()
    command = [sys.executable, "-m", "serving.compact", str(tmp_path), "--quiet-s", "-1"]
    with (tmp_path / ".compact.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert subprocess.run(command, cwd=Path(__file__).parents[2], check=False).returncode == 0
        assert list(tmp_path.rglob("*.log"))
    assert subprocess.run(command, cwd=Path(__file__).parents[2], check=False).returncode == 0
    assert not list(tmp_path.rglob("*.log"))
    assert pq.read_table(next(tmp_path.rglob("*.parquet"))).schema.field("id").type == pa.binary(16)


def test_serving_has_its_logs_compacted(tmp_path: Path) -> None:
    write(tmp_path / "log", "predictions", "w", [prediction(1)]).close()
    env = {"SERINUS_HOME": str(tmp_path), "SERINUS_COMPACT_EVERY_S": "1", "SERINUS_COMPACT_QUIET_S": "1"}
    upkeep = Upkeep(Settings.from_env(env))
    deadline = time.monotonic() + 60
    while list(tmp_path.rglob("*.log")):
        upkeep.step()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    upkeep.stop()
    assert rows(tmp_path / "log", "predictions") == [prediction(1)]
