"""The bytes of a file, with how much of it is done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from serinus.client.archive import Progress

__all__ = ["pieces_of"]

_PIECE = 1 << 18


def pieces_of(path: Path, progress: Progress | None = None) -> Iterator[bytes]:
    total, done = path.stat().st_size, 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece
            done += len(piece)
            if progress is not None:
                progress(done, total)
