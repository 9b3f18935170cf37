"""Where the processes of a pool leave what they counted, each in a file of its own, and how that is added up.

A file outlives its process: so sums never fall when a replica is replaced. It is written once a second, so that a
process which is killed takes what it counted in that second along; nothing that decides anything rests on it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from serving.recorder import replace_file

__all__ = ["EVERY_S", "Sums", "leave"]

log = logging.getLogger(__name__)
EVERY_S = 1.0
MOST_FILES = 64
"""Of processes that have ended: more are added up in memory, and removed."""
LOWEST = frozenset({"serinus_route_epoch"})
"""Gauges of which the least of all processes counts; others are added up."""
Key = tuple[str, tuple[str, ...]]
Example = tuple[str, float, float, str]
NEVER: Example = ("", 0.0, 0.0, "")


def leave(folder: Path, writer: str, samples: dict[str, Any]) -> None:
    """Replace this process's file. `samples`: `Tally.samples()`, and `gauges` as [name, labels, value]."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / f"{writer}.json", orjson.dumps({"pid": os.getpid(), **samples}), durable=False)
    except OSError as error:
        log.warning("metrics cannot be written: %s", error)


class Sums:
    """All processes of one pool that lived since the pool was started. Used from one thread."""

    def __init__(self, folder: Path) -> None:
        """What is in the folder from an earlier start is removed: counters begin anew with the pool."""
        self.folder = folder
        self._gone: list[dict[str, Any]] = []
        for path in self._paths():
            path.unlink(missing_ok=True)

    def read(self) -> Added:
        added, ended = Added(), []
        for path in self._paths():
            if (found := _read(path)) is None:
                continue
            alive = _alive(int(found["pid"]))
            added.take(found, gauges=alive)
            if not alive:
                ended.append((path, found))
        for gone in self._gone:
            added.take(gone, gauges=False)
        for path, found in ended[: max(0, len(ended) - MOST_FILES)]:
            path.unlink(missing_ok=True)
            self._fold(found)
        return added

    def _fold(self, found: dict[str, Any]) -> None:
        both = Added()
        for each in (*self._gone, found):
            both.take(each, gauges=False)
        self._gone = [both.plain()]

    def _paths(self) -> Iterable[Path]:
        return sorted(self.folder.glob("*.json")) if self.folder.is_dir() else ()


class Added:
    """Sums by family and labels. `times`: (count of each bucket, seconds). `examples`: bucket -> the newest request in
    it, of the traced ones if there are any: id, seconds, Unix seconds, id of the trace."""

    def __init__(self) -> None:
        self.counts: dict[Key, float] = {}
        self.gauges: dict[Key, float] = {}
        self.times: dict[Key, tuple[list[int], float]] = {}
        self.examples: dict[Key, dict[int, Example]] = {}

    def take(self, found: dict[str, Any], *, gauges: bool) -> None:
        for key, value in _keyed(found.get("counts", ())):
            self.counts[key] = self.counts.get(key, 0) + value
        for name, labels, counts, seconds, *examples in found.get("times", ()):
            key = (name, tuple(labels))
            before, spent = self.times.get(key, ([0] * len(counts), 0.0))
            self.times[key] = [a + b for a, b in zip(before, counts, strict=True)], spent + seconds
            for at, request, took_s, when, trace in examples[0] if examples else ():
                newest = self.examples.setdefault(key, {})
                newest[at] = max(
                    newest.get(at, NEVER), (request, took_s, when, trace), key=lambda e: (e[3] != "", e[2])
                )
        if gauges:
            for key, value in _keyed(found.get("gauges", ())):
                least = key[0] in LOWEST
                self.gauges[key] = min(self.gauges.get(key, value), value) if least else self.gauges.get(key, 0) + value

    def plain(self) -> dict[str, Any]:
        return {
            "counts": [[name, labels, value] for (name, labels), value in self.counts.items()],
            "times": [[name, labels, *both] for (name, labels), both in self.times.items()],
        }


def _keyed(rows: Iterable[Any]) -> Iterator[tuple[Key, float]]:
    for name, labels, value in rows:
        yield (name, tuple(labels)), value


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
