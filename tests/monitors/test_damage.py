"""Whatever happens to the bytes on disk: nothing that was not written is read, nothing crashes, the file is named."""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors.log import LogReader
from monitors.predictions import Predictions
from serinus.ids import uuid7
from serinus.records import MAGIC, InputRow, InputTensor, PredictionRow, Score, encode_row, hour_of, log_folder
from serving.archiver import Archiver

T0 = 240 * 3_600_000
HOUR_MS = 3_600_000
LATER = 4e9
ROWS = 40


def row(number: int) -> PredictionRow:
    scores = [Score(task, number / 64, 1) for task in ("click", "buy")]
    ident = uuid7(T0 + number * 1000, number.to_bytes(10, "big")).bytes
    return PredictionRow(ident, 0, "stable", f"u{number % 7}", "r1", 1, scores, {"country": "BR"}, 9)


FRAMES = [encode_row(row(number)) for number in range(ROWS)]
PLAIN = MAGIC + b"".join(FRAMES)


def seen(rows: Predictions) -> Counter[tuple[object, ...]]:
    names = ("high", "low", "index", "arm", "entity", "version", "value", "failed")
    return Counter(zip(*(getattr(rows, name).tolist() for name in names), strict=True))


def read(root: Path) -> tuple[Counter[tuple[object, ...]], tuple[str, ...]]:
    rows, broken = LogReader(root, "m", ("country",)).predictions(T0, T0 + HOUR_MS)
    return seen(rows), broken


def folder_of(root: Path) -> Path:
    folder = log_folder(root, "predictions", "m", hour_of(T0))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def archived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Parquet file as the archiver writes it."""
    folder = folder_of(tmp_path_factory.mktemp("archived"))
    (folder / "w0.log").write_bytes(PLAIN)
    assert Archiver(folder, "predictions", 0.0).run(LATER) == ROWS
    return next(folder.glob("*.parquet"))


@pytest.fixture(scope="module")
def written(archived: Path) -> Counter[tuple[object, ...]]:
    rows, broken = read(archived.parents[3])
    assert (rows.total(), broken) == (2 * ROWS, ())
    return rows


CHANGES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=3)


def changed(data: bytes, changes: list[tuple[float, int]], cut: float | None) -> bytes:
    """Bytes with some of them flipped, and what lies behind `cut` gone."""
    held = bytearray(data)
    for where, by in changes:
        held[int(where * len(data))] ^= by
    return bytes(held) if cut is None else bytes(held[: int(cut * len(data))])


@settings(max_examples=150, deadline=None)
@given(CHANGES, st.none() | st.floats(0, 1, exclude_max=True))
def test_damaged_frames(
    tmp_path_factory: pytest.TempPathFactory,
    written: Counter[tuple[object, ...]],
    changes: list[tuple[float, int]],
    cut: float | None,
) -> None:
    """Rows before the bad frame count. A file that ends early may yet be written on: only then is it not named."""
    root = tmp_path_factory.mktemp("frames")
    damaged = changed(PLAIN, changes, cut)
    (folder_of(root) / "w0.log").write_bytes(damaged)
    rows, broken = read(root)
    assert rows <= written
    if rows != written and cut is None:
        assert broken == (f"predictions/m/{hour_of(T0)}/w0.log",)
    if broken or cut is not None:
        good = itertools.takewhile(
            lambda end: damaged[:end] == PLAIN[:end], itertools.accumulate(map(len, FRAMES), initial=len(MAGIC))
        )
        assert rows.total() == 2 * max(0, len(list(good)) - 1)


@settings(max_examples=150, deadline=None)
@given(CHANGES, st.none() | st.floats(0, 1, exclude_max=True), st.booleans())
def test_damaged_parquet(
    tmp_path_factory: pytest.TempPathFactory,
    archived: Path,
    changes: list[tuple[float, int]],
    cut: float | None,
    other: bool,
) -> None:
    """No row of it counts; those of a file beside it do."""
    root = tmp_path_factory.mktemp("parquet")
    damaged = changed(archived.read_bytes(), changes, cut)
    if damaged == archived.read_bytes():
        return
    (folder_of(root) / archived.name).write_bytes(damaged)
    if other:
        (folder_of(root) / "w1.log").write_bytes(MAGIC + encode_row(row(99)))
    rows, broken = read(root)
    assert rows.total() == (2 if other else 0)
    assert broken == (f"predictions/m/{hour_of(T0)}/{archived.name}",)


@settings(max_examples=150, deadline=None)
@given(CHANGES, st.none() | st.floats(0, 1, exclude_max=True))
def test_damaged_parquet_of_before_names_had_a_crc(
    tmp_path_factory: pytest.TempPathFactory, archived: Path, changes: list[tuple[float, int]], cut: float | None
) -> None:
    """Pages have one of their own; it never crashes, and never gives more rows than it had."""
    root = tmp_path_factory.mktemp("old")
    (folder_of(root) / "old.parquet").write_bytes(changed(archived.read_bytes(), changes, cut))
    rows, _broken = read(root)
    assert rows.total() <= 2 * ROWS


def test_a_length_that_hides_the_rest_of_a_file_is_seen(tmp_path: Path) -> None:
    """A frame that says it is longer than the file looks like one that is being written; what follows it tells."""
    for at, by in itertools.product((0, ROWS - 1), (1, 2)):
        damaged = bytearray(PLAIN)
        damaged[len(MAGIC) + sum(map(len, FRAMES[:at])) + by] ^= 3  # thousands of bytes more
        (folder_of(tmp_path) / "w0.log").write_bytes(damaged)
        rows, broken = read(tmp_path)
        assert (rows.total(), len(broken)) == (2 * at, 1)


def test_what_is_broken_stays_for_people_and_hides_nothing(tmp_path: Path, archived: Path) -> None:
    """The archiver leaves a damaged file alone, and does not take its word for what it replaces."""
    folder = folder_of(tmp_path)
    shutil.copy(archived, folder / archived.name)
    (folder / "w1.log").write_bytes(MAGIC + encode_row(row(99)))
    data = bytearray(archived.read_bytes())
    data[-20] ^= 1
    (folder / archived.name).write_bytes(data)
    assert Archiver(folder, "predictions", 0.0).run(LATER) == 1
    assert (folder / archived.name).read_bytes() == data
    rows, broken = read(tmp_path)
    assert (rows.total(), len(broken)) == (2, 1)


def test_damaged_inputs_are_named_too(tmp_path: Path) -> None:
    folder = log_folder(tmp_path, "inputs", "m", hour_of(T0))
    folder.mkdir(parents=True)
    inputs = [InputRow(row(at).id, "u", 1, [InputTensor("x", "FP32", [1], b"\0\0\0\0")]) for at in range(9)]
    (folder / "w0.log").write_bytes(MAGIC + b"".join(map(encode_row, inputs)))
    assert Archiver(folder, "inputs", 0.0).run(LATER) == 9
    reader = LogReader(tmp_path, "m", ())
    assert reader.inputs(T0, T0 + HOUR_MS) == (inputs, ())
    (path,) = folder.glob("*.parquet")
    path.write_bytes(path.read_bytes()[:-7])
    rows, broken = LogReader(tmp_path, "m", ()).inputs(T0, T0 + HOUR_MS)
    assert (rows, broken) == ([], (f"inputs/m/{hour_of(T0)}/{path.name}",))
