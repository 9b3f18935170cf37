"""What is put into the memory of a spool is taken from it, in order, whole."""

from __future__ import annotations

import os
import random

import msgspec
import pytest

from serinus.records import LabelRow, read_rows
from serving.ring import TAIL, Damaged, Ring, prefix_of
from tests.serving.recorded import EVENT_MS, frame


def put_rows(ring: Ring, model: str, frames: list[bytes]) -> bool:
    return ring.put(prefix_of("predictions", model, EVENT_MS // 3_600_000, len(frames)), frames)


def test_what_was_put_is_taken_in_order_round_and_round() -> None:
    ring, pick, put, taken = Ring.create(3_001), random.Random(5), 0, []
    other = Ring(os.dup(ring.fd))
    while len(taken) < 5_000:
        while put_rows(ring, "m", [frame(put, pick.randrange(300))]):
            put += 1
        envelopes, position = other.take(pick.randrange(1, 3_000))
        assert envelopes == other.take(position - other.words[TAIL])[0]  # they stay until they are let go of
        other.release(position)
        for part in envelopes:
            rows = read_rows(b"serinus-log 1\n" + part.frames)
            taken += [msgspec.msgpack.decode(payload, type=LabelRow).index for _end, payload in rows]
    assert taken == list(range(len(taken)))
    assert put >= len(taken)


def test_rows_of_one_file_are_written_together_in_their_order() -> None:
    ring = Ring.create(1 << 16)
    for index in range(6):
        assert put_rows(ring, "m/n" if index % 3 else "m", [frame(index), frame(index + 10)])
    parts = ring.take(1 << 16)[0]
    assert [(part.model, part.rows) for part in parts] == [("m", 4), ("m/n", 8)]
    assert parts[0].frames == frame(0) + frame(10) + frame(3) + frame(13)


def test_memory_that_was_altered_is_noticed() -> None:
    ring = Ring.create(1 << 16)
    put_rows(ring, "m", [frame(1)])
    raw = bytearray(os.pread(ring.fd, 400, os.fstat(ring.fd).st_size - ring.size))
    raw[60] ^= 1
    os.pwrite(ring.fd, raw, os.fstat(ring.fd).st_size - ring.size)
    with pytest.raises(Damaged, match="CRC"):
        ring.take(1 << 16)


def test_the_newest_board_is_seen_with_its_place() -> None:
    ring = Ring.create(1 << 16)
    assert ring.board() is None
    for number in range(1, 5):
        put_rows(ring, "m", [frame(number)])
        assert ring.show(b"board %d" % number) == number
        assert ring.board() == (number, ring.head, b"board %d" % number)
    with pytest.raises(ValueError, match="at most"):
        ring.show(b" " * (1 << 20))
