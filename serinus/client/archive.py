"""A package folder as a tar, made while it is sent: the same files give the same bytes, and no copy on disk."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

from serinus.errors import InvalidPackage
from serinus.package import MANIFEST, read_manifest

__all__ = ["MAX_ARCHIVE_BYTES", "Archive", "Progress"]

MAX_ARCHIVE_BYTES = 1 << 30
_BLOCK, _PIECE = tarfile.BLOCKSIZE, 1 << 18

Progress = Callable[[int, int], None]
"""Called with (bytes sent, bytes in all)."""


@dataclass(frozen=True)
class Archive:
    """An uncompressed ustar of the manifest and every file that it lists, in the order of their names.

    Names, sizes and contents are all that is in it: no owner, no time. `segments`: (length, bytes or the file that
    they are in)."""

    segments: tuple[tuple[int, bytes | Path], ...]

    @classmethod
    def of(cls, folder: Path) -> Archive:
        """Raises InvalidPackage when a file is missing or altered, or above 1 GiB."""
        manifest = read_manifest(folder)
        segments: list[tuple[int, bytes | Path]] = []
        for path in [folder / MANIFEST, *(folder / name for name in sorted(manifest.files))]:
            info = tarfile.TarInfo(path.relative_to(folder).as_posix())
            info.size, info.mode = path.stat().st_size, 0o644
            head, fill = info.tobuf(tarfile.USTAR_FORMAT), bytes(-info.size % _BLOCK)
            segments += [(len(head), head), (info.size, path), (len(fill), fill)]
        segments.append((2 * _BLOCK, bytes(2 * _BLOCK)))
        made = cls(tuple(segments))
        if made.size_bytes > MAX_ARCHIVE_BYTES:
            why = f"the package has {made.size_bytes} bytes, more than {MAX_ARCHIVE_BYTES}"
            raise InvalidPackage(why, "make the model smaller")
        return made

    @cached_property
    def size_bytes(self) -> int:
        return sum(length for length, _ in self.segments)

    @cached_property
    def sha256(self) -> str:
        """Of all its bytes, hex."""
        digest = hashlib.sha256()
        for piece in self.pieces():
            digest.update(piece)
        return digest.hexdigest()

    def pieces(self, progress: Progress | None = None) -> Iterator[bytes]:
        """All its bytes. Raises InvalidPackage when a file changes its size meanwhile."""
        at = 0
        while at < self.size_bytes:
            piece = self.read(at, _PIECE)
            yield piece
            at += len(piece)
            if progress is not None:
                progress(at, self.size_bytes)

    def read(self, offset: int, most: int) -> bytes:
        """At most so many bytes from there on; fewer at its end. Raises as `pieces`."""
        found, end = bytearray(), min(offset + most, self.size_bytes)
        ends = accumulate(length for length, _ in self.segments)
        for (length, source), upto in zip(self.segments, ends, strict=True):
            first, last = max(offset, upto - length), min(end, upto)
            if first < last:
                found += _part(source, first - (upto - length), last - first, length)
        return bytes(found)


def _part(source: bytes | Path, start: int, count: int, length: int) -> bytes:
    if isinstance(source, bytes):
        return source[start : start + count]
    with source.open("rb") as file:
        file.seek(start)
        part = file.read(count)
        if len(part) < count or file.seek(0, 2) != length:
            raise InvalidPackage(f"{source.name} changed while it was sent", "push again when nobody writes to it")
    return part
