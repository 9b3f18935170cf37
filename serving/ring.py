"""Memory that a front door and its spool share: a ring of rows, and a board with its marks.

It is an anonymous file in memory: putting rows there is a copy, never a system call, so no disk can block it; and it
lives as long as one of the two processes, so a front door that is killed takes nothing with it. One process puts, one
takes. Positions only grow; `head` is written after what it covers, `tail` after what it covers is in the log files.

    words   64-bit counters, the first page: HEAD and what follows
    boards  two places for the newest marks, used in turn
    ring    envelopes: u32 length, u32 CRC-32 of the rest; kind, length of the key, rows; key (MODEL/HOUR), frames
"""

from __future__ import annotations

import functools
import mmap
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args
from zlib import crc32

from serinus.records import Kind, hour_of

HEAD, TAIL, WRITTEN_ROWS, DROPPED_ROWS, BOARD, BOARD_WRITTEN, ERRORS = range(7)
"""Words: bytes put and taken; rows written and given up; number of the newest board and of the one written; errors
that the spool has met."""
HOUR_MS = 3_600_000
WORDS_BYTES = 4096
BOARD_BYTES = 1 << 20
KINDS: tuple[Kind, ...] = get_args(Kind)
_ENVELOPE = struct.Struct("<II")
_BODY = struct.Struct("<BHI")
_HEADS = _ENVELOPE.size + _BODY.size
_BOARD = struct.Struct("<QQII")


@dataclass(frozen=True, slots=True)
class Envelope:
    """Rows of one file. `frames`: whole frames, one after the other."""

    kind: Kind
    model: str
    hour: str
    rows: int
    frames: bytes


class Damaged(Exception):
    """What lies there is not what was put."""


class Ring:
    """One end of the memory behind `fd`; both ends map the same. Used by one thread at a time."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, os.fstat(fd).st_size)
        self.words = memoryview(self._map)[:WORDS_BYTES].cast("Q")
        self._start = WORDS_BYTES + 2 * BOARD_BYTES
        self._end = len(self._map)
        self.size = self._end - self._start
        self._head, self._tail_seen = self.words[HEAD], self.words[TAIL]

    @classmethod
    def create(cls, size: int) -> Ring:
        """A fresh one that takes `size` bytes of rows; memory is taken as it fills for the first time."""
        fd = os.memfd_create("serinus-spool", os.MFD_CLOEXEC)
        os.ftruncate(fd, WORDS_BYTES + 2 * BOARD_BYTES + size)
        return cls(fd)

    @property
    def lag_bytes(self) -> int:
        """Bytes that were put and are not in the log files yet."""
        return self.words[HEAD] - self.words[TAIL]

    @property
    def head(self) -> int:
        return self.words[HEAD]

    def put(self, prefix: bytes, frames: Sequence[bytes]) -> bool:
        """Take rows of one file, whose `prefix_of` is given; False when there is no room for them."""
        body = prefix + b"".join(frames)
        data = _ENVELOPE.pack(len(body), crc32(body)) + body
        head, size, length = self._head, self.size, len(data)
        if head + length - self._tail_seen > size:
            self._tail_seen = self.words[TAIL]
            if head + length - self._tail_seen > size:
                return False
        start = self._start + head % size
        if start + length <= self._end:
            self._map[start : start + length] = data
        else:
            room = self._end - start
            self._map[start : self._end] = data[:room]
            self._map[self._start : self._start + length - room] = data[room:]
        self._head = self.words[HEAD] = head + length
        return True

    def take(self, most: int) -> tuple[list[Envelope], int]:
        """The oldest rows, about `most` bytes, those of one file together in their order, and the position after them.

        They stay until `release`. Raises Damaged."""
        tail = self.words[TAIL]
        waiting = self.words[HEAD] - tail
        data = self._bytes(tail, min(waiting, most))
        files: dict[bytes, list[memoryview]] = {}
        counts: dict[bytes, int] = {}
        at = 0
        while at < waiting:
            if at + _HEADS > len(data) or at + _ENVELOPE.size + _ENVELOPE.unpack_from(data, at)[0] > len(data):
                if at or len(data) == waiting:
                    break
                data = self._bytes(tail, waiting)  # the first one is longer than what was wanted
                continue
            length, crc = _ENVELOPE.unpack_from(data, at)
            body = memoryview(data)[at + _ENVELOPE.size : at + _ENVELOPE.size + length]
            if crc32(body) != crc:
                raise Damaged(f"the envelope at {tail + at} has another CRC than it was put with")
            kind, key_length, rows = _BODY.unpack_from(body)
            end = _BODY.size + key_length
            file = bytes((kind,)) + body[_BODY.size : end]
            files.setdefault(file, []).append(body[end:])
            counts[file] = counts.get(file, 0) + rows
            at += _ENVELOPE.size + length
        if waiting and not at:
            raise Damaged(f"no whole envelope where {waiting} bytes were put")
        return [_envelope(file, counts[file], parts) for file, parts in files.items()], tail + at

    def release(self, position: int) -> None:
        """What lies before `position` is in the log files; its place may be used again."""
        self.words[TAIL] = position

    def show(self, data: bytes) -> int:
        """Put a board: it holds for everything that was put so far. Returns its number. Raises ValueError: too long."""
        if len(data) > BOARD_BYTES - _BOARD.size:
            raise ValueError(f"the marks take {len(data)} bytes, at most {BOARD_BYTES - _BOARD.size} are possible")
        number = self.words[BOARD] + 1
        start = WORDS_BYTES + number % 2 * BOARD_BYTES
        head = _BOARD.pack(number, self.words[HEAD], len(data), crc32(data))
        self._map[start : start + len(head) + len(data)] = head + data
        self.words[BOARD] = number
        return number

    def board(self) -> tuple[int, int, bytes] | None:
        """(number, position, data) of the newest board; None when there is none or it is being replaced."""
        number = self.words[BOARD]
        start = WORDS_BYTES + number % 2 * BOARD_BYTES
        said, position, length, crc = _BOARD.unpack_from(self._map, start)
        if not number or said != number or length > BOARD_BYTES:
            return None
        data = self._map[start + _BOARD.size : start + _BOARD.size + length]
        return (number, position, data) if crc32(data) == crc else None

    def close(self) -> None:
        self.words.release()
        self._map.close()
        os.close(self.fd)

    def _bytes(self, position: int, length: int) -> bytes:
        start = position % self.size
        room = self.size - start
        first = self._map[self._start + start : self._start + start + min(length, room)]
        return first if length <= room else first + self._map[self._start : self._start + length - room]


@functools.lru_cache(maxsize=16_384)
def prefix_of(kind: Kind, model: str, hours: int, rows: int) -> bytes:
    """What stands before the frames of so many rows of an hour (`hours`: since the epoch)."""
    key = f"{model}/{hour_of(hours * HOUR_MS)}".encode()
    return _BODY.pack(KINDS.index(kind), len(key), rows) + key


def _envelope(file: bytes, rows: int, parts: list[memoryview]) -> Envelope:
    model, hour = file[1:].decode().rsplit("/", 1)
    return Envelope(KINDS[file[0]], model, hour, rows, b"".join(parts))
