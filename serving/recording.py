"""The front door's end of its spool: rows are handed over without ever waiting, and the spool is kept alive."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import msgspec

import serinus
import serving
from serinus.records import MAX_ROW_BYTES, Kind, Mark
from serving.marks import ModelMark
from serving.ring import BOARD_WRITTEN, DROPPED_ROWS, ERRORS, HOUR_MS, WRITTEN_ROWS, Ring, prefix_of

log = logging.getLogger(__name__)
SHOWN_WITHIN_S = 5.0
LOOK_EVERY_S = 0.25
SAY_EVERY_S = 10.0
_encode = msgspec.msgpack.encode


class Recorder:
    """Takes the rows of one front door; used from one event loop.

    `name`: of the writer, unique per process start. `size`: bytes of rows that may wait for the disk."""

    def __init__(self, root: Path, name: str, size: int) -> None:
        self._root, self._name = root, name
        self._ring = Ring.create(size)
        self._spool: socket.socket | None = None
        self._starter: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self._rows = 0
        self._lost: dict[str, int] = {}
        self._said_at = 0.0

    def append(self, kind: Kind, mark: ModelMark, model: str, event_ms: int, frames: Sequence[bytes]) -> None:
        """Take rows of one event time; never waits, never raises. Where there is no room they are lost, and counted."""
        rows = len(frames)
        small = kind != "inputs" or max(map(len, frames)) <= MAX_ROW_BYTES
        if small and self._ring.put(prefix_of(kind, model, event_ms // HOUR_MS, rows), frames):
            self._rows += rows
            return
        mark.lose(kind, event_ms, rows)
        self._lost[kind] = self._lost.get(kind, 0) + rows
        if (now := time.monotonic()) > self._said_at + SAY_EVERY_S:
            self._said_at = now
            log.error("the log does not take rows as fast as they come, or as large; so far lost: %s", self._lost)

    def show(self, marks: Mapping[str, Mark], durable: Set[str]) -> int:
        """Put the marks on the board; `serving.marks.Board`. Raises OSError when they are too long for it."""
        try:
            return self._ring.show(_encode({"marks": marks, "durable": sorted(durable)}))
        except ValueError as error:
            raise OSError(str(error)) from error

    async def shown(self, number: int) -> None:
        """Until that board, or a newer one, is on disk. Raises TimeoutError, which is an OSError."""
        deadline = time.monotonic() + SHOWN_WITHIN_S
        while self._ring.words[BOARD_WRITTEN] < number:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the log has not taken it within {SHOWN_WITHIN_S:g} s")
            await asyncio.sleep(0.002)

    async def run(self) -> None:
        """Keep a spool alive, for ever. Call `start` first, so that none has to be waited for."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if not self.alive:
                self.start()

    @property
    def alive(self) -> bool:
        """Whether the spool lives; one that hangs does, and nobody may take its place."""
        if self._starter is not None and self._starter.poll() is not None:
            self._starter = None
        if self._spool is None:
            return False
        try:
            return self._spool.recv(1) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def start(self) -> None:
        """Start a spool; that it cannot be started is logged, and tried again by `run`."""
        if self._spool is not None:
            self._spool.close()
            log.error("the spool has died; another one goes on where it was")
        mine, its = socket.socketpair()
        mine.setblocking(False)
        fds = (self._ring.fd, its.fileno())
        writer = f"{self._name}.{self._starts}" if self._starts else self._name
        self._starts += 1
        command = [sys.executable, "-P", "-m", "serving.spool", *map(str, fds), str(self._root), writer]
        folders = dict.fromkeys(str(Path(str(room.__file__)).parents[1]) for room in (serving, serinus))
        path = os.pathsep.join([*folders, *filter(None, [os.environ.get("PYTHONPATH")])])
        try:
            self._starter = subprocess.Popen(
                command,
                env={**os.environ, "PYTHONPATH": path},
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd="/",
            )
            self._spool = mine
        except OSError as error:
            log.error("no spool can be started, rows wait in memory: %s", error)
            self._spool = None
            mine.close()
        finally:
            its.close()

    async def close(self, within_s: float = 5.0) -> None:
        """Wait until all rows are written, for a while; the spool goes on alone with what is left. Then let go."""
        deadline = time.monotonic() + within_s
        while self._ring.lag_bytes and time.monotonic() < deadline:
            await asyncio.sleep(0.005)
        if self._spool is not None:
            self._spool.close()
            self._spool = None
        self._ring.close()

    def status(self) -> dict[str, Any]:
        """Rows put, written, and lost by kind; bytes that wait; errors that the spool has met; its starts."""
        words = self._ring.words
        return {
            "rows": self._rows,
            "written": words[WRITTEN_ROWS],
            "given_up": words[DROPPED_ROWS],
            "lost": dict(self._lost),
            "lag_bytes": self._ring.lag_bytes,
            "size_bytes": self._ring.size,
            "errors": words[ERRORS],
            "starts": self._starts,
        }
