"""One entity's rows leave the logs, whatever they lie in, and whenever this is killed; nothing else moves."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from monitors import erase, erase_files
from monitors.log import LogReader
from serinus.archive_files import alone
from serinus.erasure import Erased, entity_sha256
from serinus.errors import BadInput
from serinus.ids import uuid7
from serinus.jobs import Job
from serinus.records import (
    InputRow,
    InputTensor,
    Kind,
    LabelRow,
    PredictionRow,
    Score,
    encode_row,
    hour_of,
    log_folder,
    read_rows,
)

ROOT = Path(__file__).parents[2]
HOUR_MS = 3_600_000
START = 480_000 * HOUR_MS
KINDS: tuple[Kind, ...] = ("predictions", "labels", "inputs")
OLD_S = 10_000


def ident(number: int, hour: int = 0) -> bytes:
    return uuid7(START + hour * HOUR_MS + number, number.to_bytes(10, "big")).bytes


def rows_of_world(hour: int = 0) -> dict[Kind, list[Any]]:
    """Forty requests of five users; the last of request 7's two rows has a label that the first has not."""
    found: dict[Kind, list[Any]] = {kind: [] for kind in KINDS}
    for number in range(40):
        at, user = ident(number, hour), f"user-{number % 5}"
        for arm, version in (("stable", 1), ("shadow", 2)):
            found["predictions"].append(
                PredictionRow(at, 0, arm, user, "r1", 1, [Score("t", 0.5, version)], {"country": "BR"}, 7)  # type: ignore[arg-type]
            )
        if number % 2:
            found["inputs"].append(InputRow(at, user, 1, [InputTensor("x", "FP32", [1, 1], b"1234")]))
        if number % 3:
            found["labels"].append(LabelRow(at, 0, "t", 1.0, START + 1))
    return found


def write(root: Path, kind: Kind, writer: str, rows: list[Any], hour: int = 0, age_s: float = OLD_S) -> Path:
    folder = log_folder(root, kind, "m", hour_of(START + hour * HOUR_MS))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{writer}.log"
    path.write_bytes(b"serinus-log 1\n" + b"".join(encode_row(row) for row in rows))
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def archive(root: Path) -> None:
    """As the pool's own compaction does, in a process of its own: this room does not import that one."""
    command = [sys.executable, "-m", "serving.compact", str(root), "--quiet-s", "0"]
    command += [word for kind in KINDS for word in (f"--keep-{kind}-days", "1000000")]
    subprocess.run(command, check=True, cwd=ROOT)


def all_rows(root: Path, hours: int = 1) -> list[Any]:
    """Everything that readers of the logs see."""
    return sorted(itertools.chain(*(entities(root, kind, hour) for kind in KINDS for hour in range(hours))), key=repr)


def entities(root: Path, kind: Kind, hour: int = 0) -> list[Any]:
    import msgspec
    import pyarrow.parquet as pq

    from serinus.archive import read_whole
    from serinus.archive_rows import rows_of

    types = {"predictions": PredictionRow, "labels": LabelRow, "inputs": InputRow}

    def read(pieces: list[Any]) -> list[Any]:
        found: list[Any] = []
        for piece in pieces:
            if piece.archived:
                found += rows_of(kind, pq.read_table(piece.path))
            else:
                frames = read_rows(piece.path.read_bytes(), piece.start)
                found += [msgspec.msgpack.decode(payload, type=types[kind]) for _, payload in frames]
        return found

    return read_whole(log_folder(root, kind, "m", hour_of(START + hour * HOUR_MS)), read)


def without(world: dict[Kind, list[Any]], user: str) -> list[Any]:
    theirs = {row.id for row in world["predictions"] if row.entity == user}
    return sorted((row for rows in world.values() for row in rows if row.id not in theirs), key=repr)


def erased(root: Path, state: Path, entity: str = "user-3", **params: Any) -> Erased:
    job = Job(id="j", kind="erase", model="m", params={"entity": entity, "wait_s": 0, **params})
    state.mkdir(exist_ok=True)
    return Erased.model_validate(erase.run(job, root, state, lambda _done, _said: None))


@pytest.fixture
def world(tmp_path: Path) -> dict[Kind, list[Any]]:
    found = rows_of_world()
    for kind, rows in found.items():
        half = len(rows) // 2
        write(tmp_path / "log", kind, "a", rows[:half])
        write(tmp_path / "log", kind, "b", rows[half:])
    return found


@pytest.mark.parametrize("archived", [False, True, None])
def test_rows_of_an_entity_leave_frames_and_parquet(
    tmp_path: Path, world: dict[Kind, list[Any]], archived: bool | None
) -> None:
    log = tmp_path / "log"
    if archived is not False:
        archive(log)
    if archived is None:  # some of the hour lies in Parquet, some in frames
        for kind in KINDS:
            more = rows_of_world(0)[kind][:0] + [row for row in world[kind] if row.id == ident(13)]
            write(log, kind, "late", more)
            world[kind] += more
    wanted = without(world, "user-3")
    gone = {kind: sum(row.id in {r.id for r in world["predictions"] if r.entity == "user-3"} for row in world[kind])
            for kind in KINDS}  # fmt: skip
    found = erased(log, tmp_path / "state")
    assert all_rows(log) == wanted
    assert (found.rows, found.complete, found.entity_sha256) == (gone, True, entity_sha256("user-3"))
    assert all(gone.values())
    assert not any(b"user-3" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    again = erased(log, tmp_path / "again")
    assert (again.rows, again.rewritten) == (dict.fromkeys(sorted(KINDS), 0), 0)
    archive(log)
    assert all_rows(log) == wanted


def test_a_row_of_a_batch_is_one_entitys_and_its_neighbour_stays(tmp_path: Path) -> None:
    both = [PredictionRow(ident(1), at, "stable", f"user-{at}", "r1", 1, [Score("t", 0.5, 1)], {}, 7) for at in (0, 1)]
    labels = [LabelRow(ident(1), at, "t", 1.0, START) for at in (0, 1)]
    write(tmp_path / "log", "predictions", "a", both)
    write(tmp_path / "log", "labels", "a", labels)
    erased(tmp_path / "log", tmp_path / "state", "user-1")
    assert all_rows(tmp_path / "log") == sorted([both[0], labels[0]], key=repr)


def test_what_is_written_to_stays_is_told_and_goes_when_it_is_asked_again(
    tmp_path: Path, world: dict[Kind, list[Any]]
) -> None:
    """Also what names its labels: else nobody could find them any more."""
    import fcntl

    log = tmp_path / "log"
    path = log_folder(log, "labels", "m", hour_of(START)) / "b.log"
    before = all_rows(log)
    with path.open("rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_SH)
        found = erased(log, tmp_path / "state")
    assert not found.complete
    assert found.open_files == 1
    assert "ask again" in found.said
    names = {getattr(row, "entity", "") for row in all_rows(log)}
    assert "user-3" in names
    assert found.open_rows == len(before) - len(without(world, "user-3")) - found.rows["labels"]
    assert erased(log, tmp_path / "again").complete
    assert all_rows(log) == without(world, "user-3")


def test_it_waits_for_a_file_that_is_closed_soon(
    tmp_path: Path, world: dict[Kind, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    path = log_folder(log, "predictions", "m", hour_of(START)) / "a.log"
    os.utime(path)
    monkeypatch.setattr(erase.time, "sleep", lambda _s: os.utime(path, (time.time() - OLD_S,) * 2))
    assert erased(log, tmp_path / "state", wait_s=60).complete
    assert all_rows(log) == without(world, "user-3")


def test_a_damaged_file_is_named_and_the_others_go_on(tmp_path: Path, world: dict[Kind, list[Any]]) -> None:
    log = tmp_path / "log"
    path = write(log, "predictions", "bad", world["predictions"][:4])
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)
    found = erased(log, tmp_path / "state")
    assert (found.complete, len(found.damaged)) == (False, 1)
    assert found.damaged[0].endswith("bad.log")
    path.unlink()
    assert all_rows(log) == without(world, "user-3")


@pytest.mark.parametrize("params", [{}, {"entity": ""}, {"entity": "x" * 2_000}, {"entity": "u", "wait_s": -1}])
def test_parameters_that_are_none_are_refused_without_being_repeated(tmp_path: Path, params: dict[str, Any]) -> None:
    job = Job(id="j", kind="erase", model="m", params=params)
    with pytest.raises(BadInput) as error:
        erase.run(job, tmp_path, tmp_path, lambda _done, _said: None)
    assert "xx" not in str(error.value)


def test_an_entity_with_too_many_rows_is_none(
    tmp_path: Path, world: dict[Kind, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erase_files, "MOST_KEYS", 5)
    with pytest.raises(BadInput, match="no single entity"):
        erased(tmp_path / "log", tmp_path / "state")
    assert all_rows(tmp_path / "log") == sorted(itertools.chain(*world.values()), key=repr)


def test_compaction_and_erasing_take_turns(
    tmp_path: Path, world: dict[Kind, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    log, turns = tmp_path / "log", []
    lock = alone(log)
    assert lock.__enter__()

    def waited(_s: float) -> None:
        turns.append(all_rows(log))
        lock.__exit__(None, None, None)

    monkeypatch.setattr(erase.time, "sleep", waited)
    assert erased(log, tmp_path / "state").complete
    assert turns == [sorted(itertools.chain(*world.values()), key=repr)]


class Killed(BaseException):
    pass


STEPS = ("unlink", "rename", "replace", "utime", "fsync")


def killed_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Raise at the step-th system call that changes files; gives how many there were."""
    counted = itertools.count(1)
    for name in STEPS:
        real = getattr(os, name)

        def counting(*args: Any, real: Any = real, **kwargs: Any) -> Any:
            if next(counted) == step:
                raise Killed
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, counting)
    yield step


def test_killed_at_any_step_it_goes_on_and_counts_each_row_once(tmp_path: Path) -> None:
    world = rows_of_world()
    wanted, all_ = without(world, "user-3"), sum(map(len, world.values()))
    step, ended = 0, False
    while not ended:
        step += 1
        root = tmp_path / str(step)
        for kind, rows in world.items():
            write(root / "log", kind, "a", rows[:9])
        archive_once(root / "log", tmp_path / "archived")
        for kind, rows in world.items():
            write(root / "log", kind, "b", rows[9:])
        with pytest.MonkeyPatch.context() as patched:
            list(killed_at(step, patched))
            try:
                erased(root / "log", root / "state")
                ended = True
            except Killed:
                pass
        seen = all_rows(root / "log")
        assert len(seen) == len({repr(row) for row in seen})
        assert {repr(row) for row in wanted} <= {repr(row) for row in seen}
        found = erased(root / "log", root / "state")
        assert found.complete
        assert all_rows(root / "log") == wanted
        assert sum(found.rows.values()) == all_ - len(wanted), step
    assert step > 15


def archive_once(log: Path, kept: Path) -> None:
    """The same files become the same Parquet: done once, then copied."""
    import shutil

    if not kept.exists():
        archive(log)
        shutil.copytree(log, kept)
    shutil.rmtree(log)
    shutil.copytree(kept, log)


def test_readers_that_go_on_see_each_row_once_and_no_row_of_that_entity(
    tmp_path: Path, world: dict[Kind, list[Any]]
) -> None:
    log = tmp_path / "log"
    reader = LogReader(log, "m", ("country",))
    before, _ = reader.predictions(START, START + HOUR_MS)
    assert len(before) == len(world["predictions"])
    erased(log, tmp_path / "state")
    after, broken = reader.predictions(START, START + HOUR_MS)
    labels, worse = reader.labels(START, START + HOUR_MS)
    assert (broken, worse) == ((), ())
    assert len(after) + len(labels) == sum(not isinstance(row, InputRow) for row in without(world, "user-3"))


def test_a_file_goes_on_saying_which_frames_it_stands_for(tmp_path: Path, world: dict[Kind, list[Any]]) -> None:
    """A compaction that was killed left the frame files that it had put into Parquet already."""
    log = tmp_path / "log"
    frames = {path: path.read_bytes() for path in log.rglob("*.log")}
    archive(log)
    for path, data in frames.items():
        path.write_bytes(data)
        os.utime(path, (time.time() - OLD_S,) * 2)
    assert all_rows(log) == sorted(itertools.chain(*world.values()), key=repr)
    erased(log, tmp_path / "state")
    assert all_rows(log) == without(world, "user-3")
