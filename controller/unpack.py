"""Unpacking what somebody uploaded: a tar of plain files in the two folders that a package may have."""

from __future__ import annotations

import io
import os
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from serinus.errors import InvalidPackage, TooLarge
from serinus.package import MANIFEST

__all__ = ["MAX_BYTES", "MAX_FILES", "Layout", "unpack"]

MAX_FILES = 256
MAX_BYTES = 1 << 30
CHUNK = 1 << 20
PATH = re.compile(r"(parts/)?[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True)
class Layout:
    """What a tar is to hold. `what`, `like`: in words; `paths`: every path it may have; `needed`: one it must have."""

    what: str
    like: str
    paths: re.Pattern[str]
    needed: str


PACKAGE = Layout("the package's folder", "manifest.json or parts/encoder.onnx", PATH, MANIFEST)


def unpack(tar: Path, folder: Path, max_bytes: int = MAX_BYTES, layout: Layout = PACKAGE) -> None:
    """Write the files of an uncompressed tar into `folder`, which exists, and sync them.

    Raises InvalidPackage for anything but plain files whose whole path is one of the layout's, for more than MAX_FILES
    of them, without the one that is needed, and TooLarge beyond `max_bytes`; what was written until then stays for the
    caller to remove."""
    seen: set[str] = set()
    left = max_bytes
    try:
        with _Sober(tar.open("rb", buffering=0)) as raw, tarfile.open(fileobj=raw, mode="r:") as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if member.isdir() and name in (".", "", "parts"):
                    continue
                _check(member, name, seen, layout)
                left -= member.size
                if left < 0:
                    raise TooLarge(f"the package is larger than {max_bytes} bytes once unpacked")
                source = archive.extractfile(member)
                if source is None:
                    raise InvalidPackage(f"{name}: the tar does not hold its content")
                _write(source, folder / name, member.size)
    except (tarfile.TarError, EOFError, UnicodeError) as error:
        raise InvalidPackage(f"expected an uncompressed tar of {layout.what}: {error}") from error
    if layout.needed not in seen:
        raise InvalidPackage(f"{layout.needed} is missing at the top of the tar: expected one of {layout.what}")


def _check(member: tarfile.TarInfo, name: str, seen: set[str], layout: Layout) -> None:
    if not member.isreg() or member.issparse():
        raise InvalidPackage(f"{member.name!r}: only plain files and the folder parts/ may be in the tar, no links")
    if not layout.paths.fullmatch(name):
        raise InvalidPackage(f"{member.name!r}: expected a path like {layout.like}, as in a tar of {layout.what}")
    if name in seen:
        raise InvalidPackage(f"{name} is in the tar twice")
    seen.add(name)
    if len(seen) > MAX_FILES:
        raise InvalidPackage(f"the tar has more than {MAX_FILES} files")


def _write(source: IO[bytes], path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        while size and (chunk := source.read(min(CHUNK, size))):
            file.write(chunk)
            size -= len(chunk)
        if size:
            raise InvalidPackage(f"{path.name}: the tar ends before the file does")
        file.flush()
        os.fsync(file.fileno())


class _Sober(io.BufferedReader):
    """A file that refuses huge reads: tar headers name their own size, and would be read into memory whole."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= 4 * CHUNK:
            raise InvalidPackage("the tar has a header of absurd size")
        return super().read(size)
