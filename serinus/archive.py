"""Hours of a log that are closed, as Parquet files beside the frame files that they came from.

    LOG/KIND/MODEL/HOUR/ID-CRC.parquet    columns: those of the row, `writer` (name of its frame file) and `sequence`
                                          (its number in there). CRC: CRC-32 of the file, hex; older files have none

Such a file says in its metadata which bytes of which frame files its rows are (`Source`), and which older Parquet
files it `replaces`. So a folder can be read at any moment, also when whoever turned frames into Parquet was killed
before the old files were gone: `layout` tells which files, from which byte on, hold every row once.
"""

from __future__ import annotations

import functools
import itertools
import re
import zlib
from collections.abc import Callable, Iterable, Sequence, Sized
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from serinus.records import InputRow, InputTensor, Kind, LabelRow, PredictionRow, Score

__all__ = [
    "Archive",
    "Layout",
    "Piece",
    "Row",
    "Source",
    "crc_of",
    "is_damage",
    "layout",
    "metadata",
    "read_layout",
    "read_whole",
    "rows_of",
    "schema",
    "table_of",
]

Row = PredictionRow | LabelRow | InputRow
T = TypeVar("T")
FORMAT = 1
KEY = b"serinus.archive"
TRIES = 100
_CRC = re.compile(r"-([0-9a-f]{8})\.parquet")
_CHUNK = 1 << 20


class Source(msgspec.Struct, frozen=True):
    """Bytes of a frame file before `end`, which are `rows` rows."""

    name: str
    end: int
    rows: int


class Archive(msgspec.Struct, frozen=True):
    """What a Parquet file says of itself."""

    sources: list[Source]
    replaces: list[str] = []
    format: int = FORMAT


class Piece(msgspec.Struct, frozen=True):
    """A file to read; `start`: the first byte of a frame file that lies in no Parquet file. `rows`: those before it."""

    path: Path
    start: int = 0
    rows: int = 0

    @property
    def archived(self) -> bool:
        return self.path.suffix == ".parquet"


class Layout(msgspec.Struct, frozen=True):
    """A folder's files at one moment. `pieces`: what to read; `names`: of all files; `archives`: those in force;
    `broken`: Parquet files that are damaged, and so are not among the pieces; nothing that they say is believed."""

    pieces: list[Piece]
    names: frozenset[str]
    archives: dict[str, Archive]
    broken: dict[Path, str] = {}


def layout(folder: Path) -> Layout:
    """Which files of a folder hold every row once. Raises OSError."""
    names = _names(folder)
    found = {name: _archive(folder / name) for name in sorted(names) if name.endswith(".parquet")}
    said = {name: each for name, each in found.items() if isinstance(each, Archive)}
    replaced = {name for each in said.values() for name in each.replaces}
    broken = {folder / n: why for n, why in found.items() if isinstance(why, str) and n not in replaced}
    archives = {name: each for name, each in said.items() if name not in replaced}
    ends: dict[str, Source] = {}
    for each in archives.values():
        for source in each.sources:
            if source.name not in ends or source.end > ends[source.name].end:
                ends[source.name] = source
    pieces = [Piece(folder / name) for name in archives]
    for name in sorted(names):
        if name.endswith(".log"):
            before = ends.get(name)
            pieces.append(Piece(folder / name, before.end, before.rows) if before else Piece(folder / name))
    return Layout(pieces, names, archives, broken)


def read_whole(folder: Path, read: Callable[[list[Piece]], T]) -> T:
    """What `read` makes of a folder's files, none of which came or went meanwhile. Raises OSError."""
    return read_layout(folder, lambda found: read(found.pieces))


def read_layout(folder: Path, read: Callable[[Layout], T]) -> T:
    """The same, for who wants to know which files are broken. Raises OSError."""
    for _ in range(TRIES):
        try:
            found = layout(folder)
            result = read(found)
            if _names(folder) == found.names:
                return result
        except FileNotFoundError:
            continue
    raise OSError(f"the files of {folder} do not stay while they are read")


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
        },
        "labels": {"id": ident, "index": whole, "task": text, "value": pa.float64(), "known_ms": whole},
        "inputs": {"id": ident, "entity": text, "rows": whole, "tensors": pa.list_(tensor), "share": pa.float64()},
    }
    places = {"writer": text, "sequence": whole}
    return pa.schema({**columns[kind], **places})


def metadata(archive: Archive) -> dict[bytes, bytes]:
    """What the file says of itself, as Parquet keeps it."""
    return {KEY: msgspec.json.encode(archive)}


def table_of(kind: Kind, rows: Sequence[Row], places: Iterable[tuple[str, int]]) -> Any:
    """Rows as an Arrow table. `places`: (writer, sequence) of each. Raises ValueError where an id is not 16 bytes."""
    import pyarrow as pa  # noqa: PLC0415

    shape = schema(kind)
    writers, numbers = zip(*places, strict=True) if rows else ((), ())
    made = {"writer": pa.array(writers, pa.string()), "sequence": pa.array(numbers, pa.int64())}
    for field in shape:
        values = [getattr(row, field.name) for row in rows] if field.name not in made else []
        match field.name:
            case "writer" | "sequence":
                continue
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


def _names(folder: Path) -> frozenset[str]:
    try:
        return frozenset(
            path.name for path in folder.iterdir() if path.suffix in (".log", ".parquet") and path.name[0] != "."
        )
    except FileNotFoundError:
        return frozenset()


def _archive(path: Path) -> Archive | str:
    """What a Parquet file says of itself, or why it cannot be believed. Raises OSError."""
    said = path.stat()
    return _examined(path, said.st_mtime_ns, said.st_size)


@functools.lru_cache(maxsize=16_384)
def _examined(path: Path, _mtime_ns: int, _size: int) -> Archive | str:
    """A name is never used twice, so what was found can be remembered."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    named = _CRC.search(path.name)
    if named and crc_of(path) != named[1]:
        return "it has another CRC than it was written with"
    try:
        said = pq.read_metadata(path).metadata or {}
        if KEY not in said:
            return "it is no archive of a log"
        archive = msgspec.json.decode(said[KEY], type=Archive)
    except (pa.ArrowException, msgspec.MsgspecError, ValueError, OSError) as error:
        if isinstance(error, OSError) and not is_damage(error):
            raise
        return str(error)
    return archive if archive.format == FORMAT else f"it is of format {archive.format}"


def crc_of(path: Path) -> str:
    """CRC-32 of a file's bytes, 8 hex digits, as it stands in the name. Raises OSError."""
    crc = 0
    with path.open("rb") as file:
        while data := file.read(_CHUNK):
            crc = zlib.crc32(data, crc)
    return f"{crc:08x}"


def is_damage(error: OSError) -> bool:
    """Whether Arrow speaks of a file's content, and not the system of the disk (which may be well the next time)."""
    return error.errno is None
