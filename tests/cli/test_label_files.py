"""Label files of every kind become the same rows, as the serving side reads them, and keep their numbers."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from pyarrow import csv, feather, ipc
from pyarrow import parquet as pq

from serinus.client.label_files import ARROW, LINES, parts_of
from serinus.errors import BadInput, Unavailable
from serving.label_formats import batches

ROWS: list[dict[str, Any]] = [
    {"id": "a", "task": "click", "value": 1.0, "index": 2},
    {"join_key": "order 5", "event_time_ms": 1_700_000_000_000, "task": "click", "value": 0.0, "known_ms": 7},
]


def table(rows: list[dict[str, Any]]) -> pa.Table:
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows])


def stream(rows: pa.Table, path: Path) -> None:
    with ipc.new_stream(str(path), rows.schema) as out:
        out.write_table(rows)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows))
    else:
        kinds: dict[str, Any] = {
            ".csv": csv.write_csv, ".parquet": pq.write_table, ".feather": feather.write_feather, ".arrow": stream
        }  # fmt: skip
        kinds[path.suffix](table(rows), path)
    return path


def read(path: Path) -> tuple[list[dict[str, Any]], list[int]]:
    """What the serving side makes of the parts, and their rows' numbers."""
    rows: list[Any] = []
    numbers: list[int] = []
    for part in parts_of(path):
        for some in batches("arrow" if part.kind == ARROW else "ndjson", part.body):
            rows += [msgspec.json.decode(row) if isinstance(row, bytes) else row for row in some]
        numbers += part.numbers
        assert 0 < part.share <= 1
    assert part.share == 1
    return rows, numbers


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet", "feather", "arrow"])
def test_every_kind_says_the_same(ending: str, tmp_path: Path) -> None:
    rows, numbers = read(write(tmp_path / f"labels.{ending}", ROWS))
    assert rows == ROWS
    assert numbers == {"jsonl": [1, 2], "csv": [2, 3]}.get(ending, [0, 1])


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet", "arrow"])
def test_long_files_go_in_parts_and_rows_keep_their_numbers(ending: str, tmp_path: Path) -> None:
    many = [{"id": f"r{at}", "task": "click", "value": 1.0} for at in range(5 * LINES + 3)]
    rows, numbers = read(write(tmp_path / f"labels.{ending}", many))
    first = {"jsonl": 1, "csv": 2}.get(ending, 0)
    assert [(row["id"], number) for row, number in zip(rows, numbers, strict=True)] == [
        (f"r{at}", at + first) for at in range(len(many))
    ]


def test_a_csv_without_the_columns_of_labels_and_a_broken_table_are_bad_input(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no PAR1")
    for name in ("x.csv", "x.parquet"):
        with pytest.raises(BadInput):
            list(parts_of(tmp_path / name))


def test_without_pyarrow_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real = write(tmp_path / "labels.parquet", ROWS), builtins.__import__

    def without(name: str, *more: Any, **others: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *more, **others)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Unavailable, match=r"labels\.parquet needs pyarrow") as said:
        list(parts_of(path))
    assert "pip install pyarrow" in said.value.advice
