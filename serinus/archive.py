"""Hours of a log that are closed, as Parquet files beside the frame files that they came from.

    LOG/KIND/MODEL/HOUR/ID-CRC.parquet    rows: `serinus.archive_rows`. CRC: CRC-32 of the file, hex; older files
                                          have none

Such a file says in its metadata which bytes of which frame files its rows are (`Source`), and which older Parquet
files it `replaces`. So a folder can be read at any moment, also when whoever turned frames into Parquet was killed
before the old files were gone: `layout` tells which files, from which byte on, hold every row once.
"""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

__all__ = [
    "Archive",
    "Layout",
    "Piece",
    "Source",
    "crc_of",
    "is_damage",
    "layout",
    "metadata",
    "read_layout",
    "read_whole",
]

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


def metadata(archive: Archive) -> dict[bytes, bytes]:
    """What the file says of itself, as Parquet keeps it."""
    return {KEY: msgspec.json.encode(archive)}


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
