"""A job of kind `erase`: every row of one entity leaves the logs of a model. Counted, and resumed hour by hour.

WORK/erased.json: hours that are done and counts, and the file that was about to come when it was written; never the
entity's name.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from monitors.erase_files import ORDER, Found, Hour
from monitors.job_child import Progress
from serinus.archive_files import alone
from serinus.erasure import Erased, entity_sha256, erasure_of
from serinus.jobs import Job
from serinus.records import Kind

__all__ = ["run"]

AGAIN_S = 5.0
"""Between two looks at files that are still written to."""
TURN_S = 0.2
NAMED = 20


class Kept(msgspec.Struct):
    """What was done so far. `pending`: (path, kind, rows) of a file that comes next: counted once it is there.

    `since`: when this began (Unix seconds)."""

    since: float
    done: list[str] = []
    rows: dict[str, int] = {}
    rewritten: int = 0
    pending: tuple[str, str, int] | None = None
    damaged: list[str] = []


@dataclass(slots=True)
class Book:
    """The counts, kept in a file that is replaced as a whole."""

    path: Path
    kept: Kept = field(init=False)

    def __post_init__(self) -> None:
        self.kept = Kept(time.time(), rows=dict.fromkeys(sorted(ORDER), 0))
        with suppress(OSError, msgspec.MsgspecError):  # nothing yet, or half of nothing: rows are only counted anew
            self.kept = msgspec.json.decode(self.path.read_bytes(), type=Kept)
        self.settle()

    def written(self, path: Path, kind: Kind, rows: int) -> None:
        """A file is about to come."""
        self.settle()
        self.kept.pending = (str(path), kind, rows)
        self.save()

    def settle(self) -> None:
        """Count the file that was to come, if it came."""
        if self.kept.pending is not None:
            path, kind, rows = self.kept.pending
            if Path(path).exists():
                self.kept.rows[kind] = self.kept.rows.get(kind, 0) + rows
                self.kept.rewritten += 1
            self.kept.pending = None

    def save(self) -> None:
        beside = self.path.with_suffix(".new")
        with beside.open("wb") as file:
            file.write(msgspec.json.encode(self.kept))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path)


def run(job: Job, log: Path, state: Path, progress: Progress) -> dict[str, Any]:
    """Raises BadInput for parameters that are none, OSError. May be killed and started again at any moment."""
    asked = erasure_of(job.params)
    book = Book(state / "erased.json")
    while True:
        hours = _hours(log, job.model)
        todo = [hour for hour in hours if hour not in set(book.kept.done)]
        left: list[Found] = []
        for hour in todo:
            share = 0.99 * len(book.kept.done) / len(hours)
            progress(share, f"hour {hour} of {len(hours)} hours")
            found = _erase(Hour(log, job.model, hour, book.written), asked.entity, share, progress)
            book.settle()
            book.kept.damaged = sorted({*book.kept.damaged, *found.damaged})
            if found.open_rows:
                left.append(found)
            else:
                book.kept.done.append(hour)
            book.save()
        if not left or time.time() - book.kept.since >= asked.wait_s:
            return _result(asked.entity, book.kept, left).model_dump(mode="json")
        progress(0.99 * len(book.kept.done) / len(hours), "waits for files that are still written to")
        time.sleep(AGAIN_S)


def _hours(log: Path, model: str) -> list[str]:
    found: set[str] = set()
    for kind in ORDER:
        with suppress(FileNotFoundError):
            found |= {folder.name for folder in (log / kind / model).iterdir() if folder.is_dir()}
    return sorted(found)


def _erase(hour: Hour, entity: str, share: float, progress: Progress) -> Found:
    """Once nobody else rewrites these logs; compaction gets its turn between two hours."""
    while True:
        with alone(hour.root) as mine:
            if mine:
                return hour.erase(entity)
        progress(share, "waits for the compaction of the logs")
        time.sleep(TURN_S)


def _result(entity: str, kept: Kept, left: list[Found]) -> Erased:
    open_rows = sum(found.open_rows for found in left)
    said = []
    if open_rows:
        said.append(
            f"{open_rows} rows lie in files that are written to, or wait for such: ask again when they are closed"
        )
    if kept.damaged:
        said.append(f"{len(kept.damaged)} damaged files cannot be read: look at them, or remove them")
    return Erased(
        entity_sha256=entity_sha256(entity),
        hours=len(kept.done),
        rows=kept.rows,
        rewritten=kept.rewritten,
        open_rows=open_rows,
        open_files=sum(found.open_files for found in left),
        damaged=tuple(kept.damaged[:NAMED]),
        complete=not said,
        said="; ".join(said) or "nothing is left that names it",
    )
