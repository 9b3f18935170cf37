"""`python -m serving.spool`: writes the rows of one front door to the log files, so that no disk can hold it up.

It takes them from memory that both share (`serving.ring`) and lets go of what is in the files, or in the page cache:
killed, its successor finds the rest there, and at most rows that are written twice, which readers tell by their id. It
is not bound to its front door: when that ends, however it ends, what it had recorded is written, its marks say so, and
the spool ends. A disk that is full or gone is tried again and again; the ring fills meanwhile, and the front door
counts what it cannot put."""

from __future__ import annotations

import errno
import logging
import os
import select
import signal
import sys
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from serinus.records import Kind, Mark
from serving.marks import ModelMark
from serving.recorder import LogWriter, replace_file
from serving.ring import BOARD_WRITTEN, DROPPED_ROWS, ERRORS, TAIL, WRITTEN_ROWS, Damaged, Envelope, Ring

log = logging.getLogger("serving.spool")
BATCH_BYTES = 1 << 20
LEAST_PAUSE_S, MOST_PAUSE_S = 0.008, 0.032
RETRY_S = (0.05, 1.0)
GIVE_UP_AFTER_S = 600.0
"""How long a spool whose front door is gone tries to write what is left."""
HOPELESS = {errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP}
"""Errors that concern one folder and stay: its rows are given up, or they would hold up all others."""


class Shown(msgspec.Struct):
    """What a front door puts on the board. `durable`: models whose mark is to be fsynced."""

    marks: dict[str, Mark]
    durable: list[str]


_shown = msgspec.msgpack.Decoder(Shown)


class Spool:
    """`writer`: names the log files; the marks keep the name that the front door has given them."""

    def __init__(self, ring: Ring, root: Path, writer: str) -> None:
        self._ring, self._root = ring, root
        kinds: tuple[Kind, ...] = ("predictions", "inputs")
        self._logs = {kind: LogWriter(root, kind, writer) for kind in kinds}
        self._files: list[Envelope] = []
        self._position = ring.words[TAIL]
        self._board: tuple[int, int, Shown] | None = None
        self._given_up: dict[str, ModelMark] = defaultdict(ModelMark)

    def turn(self) -> bool:
        """Write a batch, and the marks when what they stand for is written. False: there was nothing to do.

        Raises OSError; then the next turn goes on where this one stopped."""
        if not self._files:
            self._take()
        busy = bool(self._files)
        while self._files:
            self._append(self._files[0])
            self._files.pop(0)
        self._ring.release(self._position)
        return self._write_marks() or busy

    @property
    def done(self) -> bool:
        """Whether everything that was put is written."""
        words = self._ring.words
        return not self._files and not self._ring.lag_bytes and words[BOARD_WRITTEN] == self._newest()

    def end(self) -> None:
        """Say in the marks that no row is to come any more. Raises OSError."""
        board = self._ring.board()
        if board is not None:
            shown = _shown.decode(board[2])
            for model, mark in shown.marks.items():
                self._replace(model, msgspec.structs.replace(mark, ended=True), durable=False)

    def close_idle(self) -> None:
        for writer in self._logs.values():
            writer.close_idle(60.0)

    def _newest(self) -> int:
        board = self._ring.board()
        return board[0] if board else 0

    def _take(self) -> None:
        try:
            self._files, self._position = self._ring.take(BATCH_BYTES)
        except Damaged as error:
            log.critical("the memory of this spool is damaged, what lies there is lost: %s", error)
            self._files, self._position = [], self._ring.head

    def _append(self, part: Envelope) -> None:
        try:
            self._logs[part.kind].append(part.model, part.hour, part.frames)
        except OSError as error:
            if error.errno not in HOPELESS:
                raise
            log.error("%d rows of %s of %s are given up: %s", part.rows, part.model, part.hour, error)
            self._given_up[part.model].lose(part.kind, event_ms_of_hour(part.hour), part.rows)
            self._ring.words[DROPPED_ROWS] += part.rows
            return
        self._ring.words[WRITTEN_ROWS] += part.rows

    def _write_marks(self) -> bool:
        if self._board is None:
            board = self._ring.board()
            if board is None or board[0] == self._ring.words[BOARD_WRITTEN]:
                return False
            self._board = board[0], board[1], _shown.decode(board[2])
        number, position, shown = self._board
        if self._position < position:
            return False
        self._board = None  # should a write fail, a newer one will do
        for model, mark in shown.marks.items():
            self._replace(model, mark, model in shown.durable)
        self._ring.words[BOARD_WRITTEN] = number
        return True

    def _replace(self, model: str, mark: Mark, durable: bool) -> None:
        if model in self._given_up:
            lost = Counter(mark.lost) + self._given_up[model].lost
            minutes = Counter(mark.lost_by_minute) + Counter(self._given_up[model].lost_by_minute)
            mark = msgspec.structs.replace(mark, lost=dict(lost), lost_by_minute=dict(minutes))
        path = self._root / "marks" / model / f"{mark.writer}.json"
        replace_file(path, msgspec.json.encode(mark), durable)


def event_ms_of_hour(hour: str) -> int:
    """The begin of a partition, Unix ms."""
    return int(datetime.strptime(hour, "%Y%m%dT%H").replace(tzinfo=UTC).timestamp()) * 1000


def run(spool: Spool, ring: Ring, door: int) -> int:
    """Until `door`, a socket's descriptor, is at its end and everything is written. Returns 1 when rows are lost."""
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda got, _frame: told.append(got))
    gone_at: float | None = None
    pause, retry, looked = LEAST_PAUSE_S, RETRY_S[0], time.monotonic()
    while True:
        try:
            busy = spool.turn()
            pause = LEAST_PAUSE_S if busy else min(2 * pause, MOST_PAUSE_S)
            retry = RETRY_S[0]
            if gone_at is not None and spool.done:
                spool.end()
                return 0
            if time.monotonic() > looked + 10.0:
                looked = time.monotonic()
                spool.close_idle()
        except OSError as error:
            ring.words[ERRORS] += 1
            if retry == RETRY_S[0]:
                log.error("rows cannot be written, they wait in memory (%d bytes): %s", ring.lag_bytes, error)
            pause, retry = retry, min(2 * retry, RETRY_S[1])
            if gone_at is not None and (told or time.monotonic() > gone_at + GIVE_UP_AFTER_S):
                log.critical("%d bytes of rows are lost: the front door is gone and the log refuses", ring.lag_bytes)
                return 1
        if gone_at is not None:
            time.sleep(pause if pause > MOST_PAUSE_S else 0)
        elif select.select([door], [], [], pause)[0] and not os.read(door, 64):
            gone_at = time.monotonic()


def main() -> int:
    """Arguments: descriptors of the memory and of the socket, folder of the logs, name of the writer."""
    memory, door, root, writer = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    if os.fork():  # whoever ends the children of the front door with it does not find this one
        return 0
    os.setsid()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    ring = Ring(memory)
    return run(Spool(ring, root, writer), ring, door)


if __name__ == "__main__":
    sys.exit(main())
