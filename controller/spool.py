"""The bytes of uploads that go on: one file each, whose length is how far it has come.

A killed process loses nothing that was acknowledged. Two who write to one upload cannot mix their bytes: each piece is
written under a lock, only where the file ends exactly where the piece begins."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path

from serinus.errors import BadInput

__all__ = ["Spool", "WrongOffset"]

ID = re.compile(r"[0-9a-f]{32}")


class WrongOffset(Exception):
    """The upload is at `offset`, not where the piece begins."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


class Spool:
    """Files in `root`, which is made when the first one comes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, upload: str) -> Path:
        """Raises BadInput for what is no id: it becomes the name of a file."""
        if not ID.fullmatch(upload):
            raise BadInput("expected the id of an upload")
        return self.root / upload

    def offset(self, upload: str) -> int:
        """Bytes that are here; 0 when this controller has none, as after another one's end."""
        try:
            return self.path(upload).stat().st_size
        except FileNotFoundError:
            return 0

    def write(self, upload: str, offset: int, piece: bytes, size_bytes: int) -> int:
        """Add the bytes that begin at `offset`: where the upload stands then.

        Raises WrongOffset when it does not end there, BadInput when it would have more than `size_bytes`."""
        self.root.mkdir(parents=True, exist_ok=True)
        with self.path(upload).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            stands = os.fstat(file.fileno()).st_size
            if stands != offset:
                raise WrongOffset(stands)
            if stands + len(piece) > size_bytes:
                raise BadInput(f"the upload was to have {size_bytes} bytes, this piece goes beyond")
            try:
                file.write(piece)
                file.flush()
            except OSError:  # a full disk: half a piece is no harm, but let nobody believe in it
                with suppress(OSError):
                    os.ftruncate(file.fileno(), stands)
                raise
            return stands + len(piece)

    def sync(self, upload: str) -> None:
        """What is acknowledged outlives the machine's power."""
        with suppress(FileNotFoundError), self.path(upload).open("rb") as file:
            os.fsync(file.fileno())

    def sha256(self, upload: str) -> str:
        """Of all its bytes, hex. Raises FileNotFoundError."""
        with self.path(upload).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def lend(self, upload: str, target: Path) -> None:
        """Another name for the file. Raises FileNotFoundError."""
        os.link(self.path(upload), target)

    def remove(self, upload: str) -> None:
        self.path(upload).unlink(missing_ok=True)

    def ids(self) -> set[str]:
        try:
            return {path.name for path in self.root.iterdir() if ID.fullmatch(path.name)}
        except FileNotFoundError:
            return set()

    def age_s(self, upload: str, now: float) -> float:
        """Seconds since it last grew; 0 when it is gone. `now`: wall time, Unix seconds."""
        try:
            return now - self.path(upload).stat().st_mtime
        except FileNotFoundError:
            return 0.0
