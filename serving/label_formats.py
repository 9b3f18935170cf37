"""Bodies of labels become batches of rows: JSON, NDJSON, Parquet and Arrow. Runs where much memory may be refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from serinus.errors import BadInput, TooLarge
from serving.labels import MAX_LABELS

Form = Literal["json", "ndjson", "parquet", "arrow"]
BATCH = 4096
MAX_ROWS = 1_000_000
MAX_GROUP_BYTES = 512 << 20
COLUMNS = ("id", "join_key", "event_time_ms", "index", "task", "value", "known_ms")
_list = msgspec.json.Decoder(list[Any])


def batches(form: Form, body: bytes) -> Iterator[list[Any]]:
    """Labels as they lie in `body`, some at a time. Raises BadInput, TooLarge, MemoryError."""
    match form:
        case "json":
            yield from _json(body)
        case "ndjson":
            lines = body.split(b"\n")
            if not lines[-1]:
                lines.pop()
            for start in range(0, len(lines), BATCH):
                yield lines[start : start + BATCH]
        case "parquet" | "arrow":
            yield from _columns(form, body)


def _json(body: bytes) -> Iterator[list[Any]]:
    try:
        labels = _list.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadInput(f"labels is no array of labels: {error}") from error
    if len(labels) > MAX_LABELS:
        raise TooLarge(f"there are {len(labels)} labels, expected at most {MAX_LABELS} a call in JSON")
    for start in range(0, len(labels), BATCH):
        yield labels[start : start + BATCH]


def _columns(form: str, body: bytes) -> Iterator[list[Any]]:
    import pyarrow as pa  # noqa: PLC0415 (80 MB, for those who send files)

    pa.set_cpu_count(1)
    rows = 0
    try:
        for batch in _parquet(pa, body) if form == "parquet" else _arrow(pa, body):
            rows += batch.num_rows
            if rows > MAX_ROWS:
                raise TooLarge(f"there are more than {MAX_ROWS} labels, send them in several calls")
            for start in range(0, batch.num_rows, BATCH):
                yield _rows(pa, batch.slice(start, BATCH))
    except MemoryError:  # pyarrow's is an ArrowException too
        raise
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"the body is no {form} file that can be read: {str(error)[:300]}") from error


def _parquet(pa: Any, body: bytes) -> Iterator[Any]:
    import pyarrow.parquet as pq  # noqa: PLC0415

    file = pq.ParquetFile(pa.BufferReader(body), thrift_string_size_limit=1 << 20, thrift_container_size_limit=1 << 16)
    if file.metadata.num_rows > MAX_ROWS:
        raise TooLarge(f"there are {file.metadata.num_rows} labels, expected at most {MAX_ROWS} a call")
    for group in range(file.metadata.num_row_groups):
        if file.metadata.row_group(group).total_byte_size > MAX_GROUP_BYTES:
            raise TooLarge(f"row group {group} takes more than {MAX_GROUP_BYTES} bytes, write smaller ones")
    _need(pa, file.schema_arrow)
    yield from file.iter_batches(BATCH, columns=_known(file.schema_arrow), use_threads=False)


def _arrow(pa: Any, body: bytes) -> Iterator[Any]:
    with pa.ipc.open_stream(pa.BufferReader(body)) as stream:
        _need(pa, stream.schema)
        for batch in stream:
            some = batch.select(_known(stream.schema))
            some.validate(full=True)  # offsets are the sender's word until then
            yield some


def _known(schema: Any) -> list[str]:
    return [name for name in schema.names if name in COLUMNS]


def _need(pa: Any, schema: Any) -> None:
    """Raises BadInput when columns are missing, twice there, or of types that no label has."""
    names = _known(schema)
    if len(set(names)) < len(names) or len(schema.names) > 1024:
        raise BadInput("columns have the same name, or there are more than 1,024")
    for wanted in (("task",), ("value",), ("id", "join_key")):
        if not any(name in names for name in wanted):
            missing = " or ".join(map(repr, wanted))
            raise BadInput(f"there is no column {missing}, expected some of {', '.join(COLUMNS)}")
    for name in names:
        kind = schema.field(name).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        texts = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        numbers = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
        if not (texts if name in ("id", "join_key", "task") else numbers or pa.types.is_timestamp(kind)):
            raise BadInput(f"column {name!r} is {kind}, expected {'texts' if not numbers else 'numbers'}")


def _rows(pa: Any, batch: Any) -> list[Any]:
    """Rows as plain values; what is null is left out."""
    columns = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        made = column.cast(pa.timestamp("ms")).cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
        columns[name] = (made.cast(pa.float64()) if name == "value" else made).to_pylist()
    names = tuple(columns)
    return [
        {name: value for name, value in zip(names, row, strict=True) if value is not None}
        for row in zip(*columns.values(), strict=True)
    ]
