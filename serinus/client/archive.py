"""A package folder as a tar, made while it is sent: the same files give the same bytes, and no copy on disk."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from serinus.errors import InvalidPackage
from serinus.package import MANIFEST, Manifest

__all__ = ["MAX_ARCHIVE_BYTES", "Progress", "archive_bytes", "stream_archive"]

MAX_ARCHIVE_BYTES = 1 << 30
_BLOCK, _PIECE = tarfile.BLOCKSIZE, 1 << 18

Progress = Callable[[int, int], None]
"""Called with (bytes sent, bytes in all)."""


def archive_bytes(folder: Path, manifest: Manifest) -> int:
    """How long the tar will be. Raises InvalidPackage above 1 GiB."""
    sizes = [path.stat().st_size for path in _files(folder, manifest)]
    total = sum(_BLOCK + -(-size // _BLOCK) * _BLOCK for size in sizes) + 2 * _BLOCK
    if total > MAX_ARCHIVE_BYTES:
        raise InvalidPackage(f"the package has {total} bytes, more than {MAX_ARCHIVE_BYTES}", "make the model smaller")
    return total


def stream_archive(folder: Path, manifest: Manifest, progress: Progress | None = None) -> Iterator[bytes]:
    """The bytes of an uncompressed ustar of the manifest and every file that it lists, in the order of their names.

    Names, sizes and contents are all that is in it: no owner, no time. Raises InvalidPackage when a file changes
    its size meanwhile."""
    total, sent = archive_bytes(folder, manifest), 0
    for piece in _pieces(folder, manifest):
        yield piece
        sent += len(piece)
        if progress is not None:
            progress(sent, total)


def _pieces(folder: Path, manifest: Manifest) -> Iterator[bytes]:
    for path in _files(folder, manifest):
        info = tarfile.TarInfo(path.relative_to(folder).as_posix())
        info.size, info.mode = path.stat().st_size, 0o644
        yield info.tobuf(tarfile.USTAR_FORMAT)
        with path.open("rb") as file:
            read = 0
            while piece := file.read(min(_PIECE, info.size - read)):
                read += len(piece)
                yield piece
        if read != info.size:
            raise InvalidPackage(f"{info.name} changed while it was sent", "push again when nobody writes to it")
        yield bytes(-info.size % _BLOCK)
    yield bytes(2 * _BLOCK)


def _files(folder: Path, manifest: Manifest) -> list[Path]:
    return [folder / MANIFEST, *(folder / name for name in sorted(manifest.files))]
