"""Label files in parts that one call takes: JSON lines and CSV travel as lines, Parquet and Arrow as Arrow."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serinus.errors import BadInput, Unavailable

__all__ = ["TABLES", "Part", "parts_of"]

LINES, LINE_BYTES, TABLE_ROWS = 5_000, 1 << 19, 20_000
NDJSON, ARROW = "application/x-ndjson", "application/vnd.apache.arrow.stream"
TABLES = {".parquet", ".arrow", ".feather", ".arrows"}
COLUMNS = ("id", "join_key", "event_time_ms", "index", "task", "value", "known_ms")
NUMBERS = {"value": float, "index": int, "event_time_ms": int, "known_ms": int}


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows as a body. `numbers`: of its rows; `share`: of the file that is read after it, 0 to 1."""

    kind: str
    body: bytes
    numbers: Sequence[int]
    share: float


def parts_of(path: Path) -> Iterator[Part]:
    """A file's labels, by its ending: .csv, .parquet, .arrow or .feather; anything else has one JSON object a line.

    Rows of text are numbered by their lines, from 1, rows of tables from 0. Raises BadInput, Unavailable."""
    ending = path.suffix.lower()
    if ending in TABLES:
        return _tables(path, ending)
    return _numbered(path, _csv if ending == ".csv" else _lines)


def _numbered(path: Path, read: Any) -> Iterator[Part]:
    """Lines gathered to parts of a bounded size."""
    size = max(path.stat().st_size, 1)
    with path.open("rb") as file:
        gathered, numbers, waiting = list[bytes](), list[int](), 0
        for number, line in read(file):
            gathered.append(line)
            numbers.append(number)
            waiting += len(line)
            if len(gathered) == LINES or waiting >= LINE_BYTES:
                yield Part(NDJSON, b"\n".join(gathered), numbers, min(file.tell() / size, 1.0))
                gathered, numbers, waiting = [], [], 0
        if gathered:
            yield Part(NDJSON, b"\n".join(gathered), numbers, 1.0)


def _lines(file: Any) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(file, 1):
        if stripped := line.strip():
            yield number, stripped


def _csv(file: Any) -> Iterator[tuple[int, bytes]]:
    """Rows of CSV with a header line, as JSON; empty cells are left out, a cell that is no number stays a text."""
    rows = csv.DictReader(io.TextIOWrapper(file, "utf-8-sig", newline=""))
    names = rows.fieldnames or ()
    if "task" not in names or "value" not in names:
        raise BadInput(f"the header has {', '.join(names) or 'nothing'}", f"expected some of {', '.join(COLUMNS)}")
    for row in rows:
        label = {name: _number(name, row[name]) for name in names if name in COLUMNS and row[name]}
        yield rows.line_num, json.dumps(label).encode()


def _number(name: str, text: str) -> Any:
    try:
        return NUMBERS.get(name, str)(text)
    except ValueError:
        return text  # the server says which row it is, and what it expected


def _tables(path: Path, ending: str) -> Iterator[Part]:
    try:
        import pyarrow as pa  # noqa: PLC0415
    except ImportError as error:
        hint = "pip install pyarrow, or hand in the labels as .jsonl or .csv"
        raise Unavailable(f"{path.name} needs pyarrow, which is not installed here", hint) from error
    try:
        total, batches = _parquet(path) if ending == ".parquet" else _arrow(pa, path)
        first = 0
        for batch in batches:
            for start in range(0, batch.num_rows, TABLE_ROWS):
                some = batch.slice(start, TABLE_ROWS)
                out = io.BytesIO()
                with pa.ipc.new_stream(out, some.schema) as stream:
                    stream.write_batch(some)
                numbers = range(first, first + some.num_rows)
                first += some.num_rows
                yield Part(ARROW, out.getvalue(), numbers, min(first / max(total, 1), 1.0))
    except pa.ArrowException as error:
        raise BadInput(
            f"{path.name} cannot be read: {error}", "is it a file of the kind that its name says?"
        ) from error


def _parquet(path: Path) -> tuple[int, Iterator[Any]]:
    import pyarrow.parquet as pq  # noqa: PLC0415

    file = pq.ParquetFile(path)
    names = [name for name in file.schema_arrow.names if name in COLUMNS]
    return file.metadata.num_rows, file.iter_batches(TABLE_ROWS, columns=names)


def _arrow(pa: Any, path: Path) -> tuple[int, Iterator[Any]]:
    """A file or a stream of Arrow; both are in use under the same names."""
    source = pa.memory_map(str(path))
    try:
        file = pa.ipc.open_file(source)
        batches = [file.get_batch(at) for at in range(file.num_record_batches)]  # memory mapped, not read yet
    except pa.ArrowInvalid:
        source.seek(0)
        batches = list(pa.ipc.open_stream(source))
    names = [name for name in (batches[0].schema.names if batches else ()) if name in COLUMNS]
    return sum(batch.num_rows for batch in batches), iter([batch.select(names) for batch in batches])
