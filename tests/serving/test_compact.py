"""Closed hours become Parquet: no row is lost or doubled, whenever whoever does it is killed."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitors.assess import Assessor
from monitors.follower import read_tick
from monitors.log import LogReader
from serinus.archive import read_whole, rows_of
from serinus.evidence import WorkItem
from serinus.ids import uuid7
from serinus.records import (
    InputRow,
    InputTensor,
    Kind,
    LabelRow,
    Mark,
    PredictionRow,
    Score,
    encode_row,
    hour_of,
    log_folder,
    read_rows,
)
from serinus.sla import Sla
from serving import archiver
from serving.archiver import Archiver
from serving.compact import KEEP_DAYS, run
from serving.membership import Membership
from serving.recorder import LogWriter
from serving.retention import drop_old
from serving.settings import Settings
from serving.upkeep import Upkeep

START = 240 * 3_600_000
HOUR_MS = 3_600_000
TYPES: dict[str, Any] = {"predictions": PredictionRow, "labels": LabelRow, "inputs": InputRow}
LATER = time.time() + 10_000
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


def identity(number: int, event_ms: int = START) -> bytes:
    return uuid7(event_ms, number.to_bytes(10, "big")).bytes


def prediction(number: int, event_ms: int = START) -> PredictionRow:
    scores = [Score(f"t{at}", number / 7, at, "stable" if at else "") for at in range(number % 3)]
    slices = {"country": "BR", "no": str(number)} if number % 2 else {}
    return PredictionRow(identity(number, event_ms), 0, "canary", f"u{number % 9}", "r1", 3, scores, slices, 9, 0.5)


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


@pytest.fixture
def item() -> WorkItem:
    sla = Sla.model_validate(
        {
            "model": "m",
            "tasks": {"click": {"label_window_s": 1800, "absent": "negative"}},
            "slices": {"country": ["BR", "DE"]},
            "tick_s": 3600,
            "freeze_scores": 200,
        }
    )
    return WorkItem(rollout="r1", model="m", sla=sla, baseline=1, candidate=2, alpha=0.05, started_event_ms=START)


def world(root: Path, hours: int) -> None:
    """Predictions of both versions and labels, by two writers; some rows come twice."""
    pick = random.Random(3)
    for hour in range(hours):
        event = START + hour * HOUR_MS
        logs = {kind: [LogWriter(root, kind, f"w{hour}-{at}") for at in range(2)] for kind in ("predictions", "labels")}
        for number in range(60):
            at, truth = identity(hour * 1000 + number, event + number * 59_000), pick.random()
            for arm, version, p in (("stable", 1, truth), ("shadow", 2, 0.6 * truth + 0.4 * pick.random())):
                score = [Score("click", p, version)]
                row = PredictionRow(at, 0, arm, f"u{number % 17}", "r1", 1, score, {"country": "BR"}, 5)
                for log in logs["predictions"][: 2 if number % 10 == 0 else 1]:
                    log.append("m", hour_of(event), encode_row(row))
            if pick.random() < truth:
                logs["labels"][number % 2].append(
                    "m", hour_of(event), encode_row(LabelRow(at, 0, "click", 1.0, event + number * 59_000 + 1000))
                )
        for log in itertools.chain(*logs.values()):
            log.close()


def looks(root: Path, item: WorkItem, hours: int, between: Callable[[int], object] = lambda _: None) -> list[str]:
    assessor, reader, found = Assessor(item), LogReader(root, "m", ("country",)), []
    for hour in range(hours):
        between(hour)
        tick = read_tick(item, reader, START + hour * HOUR_MS, START + (hour + 1) * HOUR_MS)
        found.append(assessor.consume(tick).digest)
    return found


def test_evidence_is_the_same_to_the_bit(tmp_path: Path, item: WorkItem) -> None:
    """Before, while (one reader goes on as files change under it) and after."""
    world(tmp_path, 12)
    forever = dict.fromkeys(KEEP_DAYS, 1e6)
    expected = looks(tmp_path, item, 12)

    def compacted(hour: int) -> None:
        for kind in ("predictions", "labels"):
            for at in range(max(0, hour - 1), hour + 1):
                path = log_folder(tmp_path, kind, "m", hour_of(START + at * HOUR_MS))
                assert Archiver(path, kind, 0.0).run(LATER) or at < hour

    assert looks(tmp_path, item, 12, compacted) == expected
    assert not list(tmp_path.glob("*/m/*/*.log"))
    assert looks(tmp_path, item, 12) == expected
    late = identity(5, START + 5)  # a row beside the Parquet file of its hour
    write(tmp_path, "labels", "late", [LabelRow(late, 0, "click", 1.0, START + 9)]).close()
    before = looks(tmp_path, item, 12)
    assert run(tmp_path, 0.0, forever, LATER) == 1
    assert looks(tmp_path, item, 12) == before


def test_labels_of_requests_in_parquet_are_known(tmp_path: Path) -> None:
    write(tmp_path, "predictions", "w", [prediction(1)]).close()
    membership, hour = Membership(tmp_path), hour_of(START)
    assert membership.rows_of("m", hour, identity(1), set()) == 1
    Archiver(folder(tmp_path), "predictions", 0.0).run(LATER)
    write(tmp_path, "predictions", "v", [prediction(2)]).close()
    for each in (membership, Membership(tmp_path)):
        assert [each.rows_of("m", hour, identity(number), set()) for number in (1, 2, 3)] == [1, 1, 0]


def test_old_hours_go_and_what_is_awaited_stays(tmp_path: Path) -> None:
    now = START / 1000 + 40 * 86_400
    for kind in ("predictions", "labels", "inputs"):
        for days in (0, 20, 39):
            event = START + days * 86_400_000
            row: Any = {
                "predictions": prediction(1, event),
                "labels": LabelRow(identity(1, event), 0, "t", 1.0, event),
                "inputs": InputRow(identity(1, event), "u", 1, []),
            }[kind]
            write(tmp_path, kind, "w", [row], event).close()  # type: ignore[arg-type]
    assert drop_old(tmp_path, KEEP_DAYS, now) == 0  # just written, whatever their event time
    for path in tmp_path.rglob("*.log"):
        os.utime(path, (START / 1000, START / 1000))

    def left() -> dict[str, int]:
        return {kind: len(list((tmp_path / kind / "m").iterdir())) for kind in ("predictions", "labels", "inputs")}

    mark = tmp_path / "marks" / "m" / "w.json"
    mark.parent.mkdir(parents=True)
    mark.write_bytes(msgspec.json.encode(Mark("w", int(now * 1000), outstanding_ms=START + 20 * 86_400_000 + 7)))
    assert drop_old(tmp_path, KEEP_DAYS, now) == 3
    assert left() == {"predictions": 2, "labels": 2, "inputs": 2}
    mark.write_bytes(msgspec.json.encode(Mark("w", int(now * 1000))))
    assert drop_old(tmp_path, KEEP_DAYS, now) == 1
    assert left() == {"predictions": 2, "labels": 2, "inputs": 1}


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
