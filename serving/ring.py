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
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from serinus.records import Kind

HEAD, TAIL, PUT_ROWS, WRITTEN_ROWS, DROPPED_ROWS, BOARD, BOARD_WRITTEN, ERRORS = range(8)
"""Words: bytes put and taken; rows put, written, given up; number of the newest board and of the one written; errors
that the spool has met."""
WORDS_BYTES = 4096
BOARD_BYTES = 1 << 20
KINDS: tuple[Kind, ...] = get_args(Kind)
_ENVELOPE = struct.Struct("<II")
_BODY = struct.Struct("<BHI")
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
        self.size = len(self._map) - self._start
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

    def put(self, kind: Kind, model: str, hour: str, frames: Sequence[bytes]) -> bool:
        """Take rows; False when there is no room for them."""
        prefix, key = _key(kind, model, hour)
        body = b"".join((_BODY.pack(prefix, len(key), len(frames)), key, *frames))
        data = _ENVELOPE.pack(len(body), zlib.crc32(body)) + body
        head = self._head
        if head + len(data) - self._tail_seen > self.size:
            self._tail_seen = self.words[TAIL]
            if head + len(data) - self._tail_seen > self.size:
                return False
        at = head % self.size
        room = self.size - at
        start = self._start + at
        if len(data) <= room:
            self._map[start : start + len(data)] = data
        else:
            self._map[start : start + room] = data[:room]
            self._map[self._start : self._start + len(data) - room] = data[room:]
        self._head = head + len(data)
        self.words[PUT_ROWS] += len(frames)
        self.words[HEAD] = self._head
        return True

    def take(self, most: int) -> tuple[list[Envelope], int]:
        """The oldest envelopes, about `most` bytes, and the position after them; they stay until `release`.

        Raises Damaged."""
        tail, end = self.words[TAIL], self.words[HEAD]
        found: list[Envelope] = []
        at = tail
        while at < end and at - tail < most:
            length, crc = _ENVELOPE.unpack(self._bytes(at, _ENVELOPE.size))
            if at + _ENVELOPE.size + length > end:
                raise Damaged(f"an envelope of {length} bytes where {end - at} were put")
            body = self._bytes(at + _ENVELOPE.size, length)
            if zlib.crc32(body) != crc:
                raise Damaged(f"the envelope at {at} has another CRC than it was put with")
            found.append(_envelope(body))
            at += _ENVELOPE.size + length
        return found, at

    def release(self, position: int) -> None:
        """What lies before `position` is in the log files; its place may be used again."""
        self.words[TAIL] = position

    def show(self, data: bytes) -> int:
        """Put a board: it holds for everything that was put so far. Returns its number. Raises ValueError: too long."""
        if len(data) > BOARD_BYTES - _BOARD.size:
            raise ValueError(f"the marks take {len(data)} bytes, at most {BOARD_BYTES - _BOARD.size} are possible")
        number = self.words[BOARD] + 1
        start = WORDS_BYTES + number % 2 * BOARD_BYTES
        head = _BOARD.pack(number, self.words[HEAD], len(data), zlib.crc32(data))
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
        return (number, position, data) if zlib.crc32(data) == crc else None

    def close(self) -> None:
        self.words.release()
        self._map.close()
        os.close(self.fd)

    def _bytes(self, position: int, length: int) -> bytes:
        start = position % self.size
        room = self.size - start
        first = self._map[self._start + start : self._start + start + min(length, room)]
        return first if length <= room else first + self._map[self._start : self._start + length - room]


@functools.lru_cache(maxsize=4096)
def _key(kind: Kind, model: str, hour: str) -> tuple[int, bytes]:
    return KINDS.index(kind), f"{model}/{hour}".encode()


def _envelope(body: bytes) -> Envelope:
    kind, length, rows = _BODY.unpack_from(body)
    end = _BODY.size + length
    model, hour = body[_BODY.size : end].decode().rsplit("/", 1)
    return Envelope(KINDS[kind], model, hour, rows, body[end:])


def by_file(envelopes: list[Envelope]) -> Iterator[Envelope]:
    """The same rows, those of one file together, in their order."""
    files: dict[tuple[Kind, str, str], list[Envelope]] = {}
    for each in envelopes:
        files.setdefault((each.kind, each.model, each.hour), []).append(each)
    for (kind, model, hour), parts in files.items():
        yield Envelope(kind, model, hour, sum(p.rows for p in parts), b"".join(p.frames for p in parts))
