"""Rows of a log as Arrow tables and Parquet, and back.

Columns: those of the row, `writer` (name of the frame file that it came from) and `sequence` (its number in there); of
predictions also `entity_hash`, by which monitors group entities. Files of older releases lack the last.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence, Sized
from hashlib import blake2b
from typing import Any

import msgspec

from serinus.records import InputRow, InputTensor, Kind, LabelRow, PredictionRow, Score

__all__ = ["DICTIONARIES", "Row", "entity_hash", "parquet_options", "rows_of", "schema", "table_of"]

Row = PredictionRow | LabelRow | InputRow
DICTIONARIES: dict[Kind, list[str]] = {
    "predictions": [
        "arm",
        "entity",
        "rollout",
        *(f"scores.list.element.{name}" for name in ("task", "fallback")),
        *(f"slices.key_value.{name}" for name in ("key", "value")),
    ],
    "labels": ["task"],
    "inputs": [],
}
"""Columns of words, which occur again and again: they can be read as dictionaries."""


def entity_hash(entity: str) -> int:
    """64 bits that group entities for the jackknife, independent of how the serving assigns them to arms."""
    return int.from_bytes(blake2b(entity.encode(), digest_size=8, person=b"serinus-groups").digest(), "big")


def parquet_options(kind: Kind) -> dict[str, Any]:
    """How such files are written: dictionaries of words alone, for numbers and ids they cost and save nothing."""
    words = [*DICTIONARIES[kind], "writer"] if kind != "inputs" else True
    return {"compression": "zstd", "write_page_checksum": True, "use_dictionary": words}


def schema(kind: Kind) -> Any:
    """The Arrow schema of a kind of rows."""
    import pyarrow as pa  # noqa: PLC0415 (only rooms have it)

    text, whole, ident = pa.string(), pa.int64(), pa.binary(16)
    said = {"task": text, "value": pa.float64(), "version": whole, "fallback": text, "classes": pa.binary()}
    score = pa.struct(said)
    tensor = pa.struct(
        {
            "name": text,
            "datatype": text,
            "shape": pa.list_(whole),
            "data": pa.binary(),
            "texts": pa.list_(text),
        }
    )
    columns: dict[Kind, dict[str, Any]] = {
        "predictions": {
            "id": ident,
            "index": whole,
            "arm": text,
            "entity": text,
            "rollout": text,
            "epoch": whole,
            "scores": pa.list_(score),
            "slices": pa.map_(text, text),
            "latency_us": whole,
            "share": pa.float64(),
            "entity_hash": pa.uint64(),
        },
        "labels": {"id": ident, "index": whole, "task": text, "value": pa.float64(), "known_ms": whole},
        "inputs": {"id": ident, "entity": text, "rows": whole, "tensors": pa.list_(tensor), "share": pa.float64()},
    }
    places = {"writer": text, "sequence": whole}
    return pa.schema({**columns[kind], **places})


def table_of(kind: Kind, rows: Sequence[Row], places: Iterable[tuple[str, int]]) -> Any:
    """Rows as an Arrow table. `places`: (writer, sequence) of each. Raises ValueError where an id is not 16 bytes."""
    import pyarrow as pa  # noqa: PLC0415

    shape = schema(kind)
    writers, numbers = zip(*places, strict=True) if rows else ((), ())
    made = {"writer": pa.array(writers, pa.string()), "sequence": pa.array(numbers, pa.int64())}
    for field in shape:
        derived = field.name in (*made, "entity_hash")
        values = [getattr(row, field.name) for row in rows] if not derived else []
        match field.name:
            case "writer" | "sequence":
                continue
            case "entity_hash":
                entities = [row.entity for row in rows if not isinstance(row, LabelRow)]
                hashes = {entity: entity_hash(entity) for entity in set(entities)}
                made[field.name] = pa.array([hashes[entity] for entity in entities], field.type)
            case "scores":
                flat = [score for scores in values for score in scores]
                parts = [
                    pa.array([getattr(score, part.name) for score in flat], part.type) for part in field.type.value_type
                ]
                inner = pa.StructArray.from_arrays(parts, fields=list(field.type.value_type))
                made[field.name] = pa.ListArray.from_arrays(_offsets(values), inner)
            case "slices":
                keys = pa.array([key for pairs in values for key in pairs], pa.string())
                items = pa.array([item for pairs in values for item in pairs.values()], pa.string())
                made[field.name] = pa.MapArray.from_arrays(_offsets(values), keys, items)
            case "tensors":
                plain = [[_plain_tensor(tensor) for tensor in tensors] for tensors in values]
                made[field.name] = pa.array(plain, field.type)
            case _:
                made[field.name] = pa.array(values, field.type)
    return pa.table([made[field.name] for field in shape], schema=shape)


def _offsets(values: Sequence[Sized]) -> Any:
    import pyarrow as pa  # noqa: PLC0415

    return pa.array([0, *itertools.accumulate(map(len, values))], pa.int32())


def _plain_tensor(tensor: InputTensor) -> dict[str, Any]:
    """`data` and `texts`: one of them is null."""
    fields = msgspec.structs.asdict(tensor)
    said = fields["data"]
    return fields | ({"texts": None} if isinstance(said, bytes) else {"data": None, "texts": said})


def rows_of(kind: Kind, table: Any) -> list[Any]:
    """The rows of an Arrow table, as they were."""
    columns = {name: table.column(name) for name in table.column_names}
    plain = {n: c.to_pylist() for n, c in columns.items() if n not in ("scores", "slices", "tensors")}
    match kind:
        case "labels":
            names = LabelRow.__struct_fields__
            return [LabelRow(*each) for each in zip(*(plain[name] for name in names), strict=True)]
        case "inputs":
            plain["tensors"] = [[_tensor(t) for t in each] for each in columns["tensors"].to_pylist()]
            return [InputRow(*each) for each in zip(*(plain[n] for n in InputRow.__struct_fields__), strict=True)]
        case "predictions":
            plain["scores"] = _cut(columns["scores"], Score, list)
            plain["slices"] = _cut(columns["slices"], lambda *pair: pair, dict)
            names = PredictionRow.__struct_fields__
            return [PredictionRow(*each) for each in zip(*(plain[name] for name in names), strict=True)]


def _cut(column: Any, make: Callable[..., Any], into: Callable[[list[Any]], Any]) -> list[Any]:
    """A column of lists of structs: flat first, then cut, which is several times faster than one by one."""
    found: list[Any] = []
    for chunk in column.chunks:
        if hasattr(chunk, "keys"):
            parts = [chunk.keys, chunk.items]
        else:
            parts = [chunk.values.field(at) for at in range(chunk.values.type.num_fields)]
        values = list(map(make, *(part.to_pylist() for part in parts)))
        found += [into(values[begin:end]) for begin, end in itertools.pairwise(chunk.offsets.to_pylist())]
    return found


def _tensor(plain: dict[str, Any]) -> InputTensor:
    data = plain["texts"] if plain["data"] is None else plain["data"]
    return InputTensor(plain["name"], plain["datatype"], plain["shape"], data)
