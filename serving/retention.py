"""What is too old goes: whole hours of a log, by their age."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from serinus.records import Kind, Mark, hour_of

DAY_S = 86_400
FRESH_S = 3_600
"""A mark that is older speaks for nobody."""


def drop_old(root: Path, keep_days: Mapping[Kind, float], now: float | None = None) -> int:
    """Remove the hours that ended, and were last written to, longer ago than their kind is kept. Returns how many.

    An hour stays while the mark of a living writer says that a row of it, or of an earlier one, may still come.
    `now`: Unix seconds. Raises OSError."""
    now = time.time() if now is None else now
    dropped = 0
    for kind, days in keep_days.items():
        for model in _folders(root / kind):
            awaited = _awaited(root / "marks" / model.name, now)
            for folder in _folders(model):
                if (awaited is None or folder.name < awaited) and _age_s(folder, now) > days * DAY_S:
                    _remove(folder)
                    dropped += 1
    return dropped


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _awaited(marks: Path, now: float) -> str | None:
    """The earliest hour in which something is outstanding."""
    times = []
    for path in marks.glob("*.json"):
        with contextlib.suppress(msgspec.MsgspecError, FileNotFoundError):
            mark = msgspec.json.decode(path.read_bytes(), type=Mark)
            if mark.outstanding_ms is not None and not mark.ended and now - mark.wall_ms / 1000 < FRESH_S:
                times.append(mark.outstanding_ms)
    return hour_of(min(times)) if times else None


def _age_s(folder: Path, now: float) -> float:
    try:
        end = datetime.strptime(folder.name, "%Y%m%dT%H").replace(tzinfo=UTC) + timedelta(hours=1)
    except ValueError:
        return 0.0
    written = max((path.stat().st_mtime for path in folder.iterdir()), default=0.0)
    return now - max(end.timestamp(), written)


def _remove(folder: Path) -> None:
    """Frame files first, then Parquet from the oldest on: half of it gone, nothing is there that was replaced."""
    for path in sorted(folder.iterdir(), key=lambda path: (path.suffix == ".parquet", path.name)):
        path.unlink()
    with contextlib.suppress(OSError):  # a writer has just begun a file: it stays
        os.rmdir(folder)
