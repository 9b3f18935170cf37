"""The logs: what was written is read, a torn end hides nothing, an altered byte is never believed."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.records import MAGIC, MAX_ROW_BYTES, LabelRow, PredictionRow, Score, encode_row, hour_of, read_rows

ints = st.integers(min_value=-(1 << 63), max_value=(1 << 63) - 1)
scores = st.builds(Score, st.text(), st.floats(allow_nan=False), ints, st.text())
predictions = st.builds(
    PredictionRow,
    id=st.binary(min_size=16, max_size=16),
    index=ints,
    arm=st.sampled_from(["stable", "control", "canary", "shadow"]),
    entity=st.text(),
    rollout=st.text(),
    epoch=ints,
    scores=st.lists(scores, max_size=3),
    slices=st.dictionaries(st.text(), st.text(), max_size=3),
    latency_us=ints,
)
labels = st.builds(LabelRow, st.binary(min_size=16, max_size=16), ints, st.text(), st.floats(allow_nan=False), ints)


def _log(rows: list[Any]) -> bytes:
    return MAGIC + b"".join(encode_row(row) for row in rows)


@given(st.lists(predictions, max_size=4))
def test_predictions_come_back_as_they_were(rows: list[PredictionRow]) -> None:
    found = [msgspec.msgpack.decode(payload, type=PredictionRow) for _, payload in read_rows(_log(rows))]
    assert found == rows


@given(st.lists(labels, max_size=4))
def test_labels_come_back_as_they_were(rows: list[LabelRow]) -> None:
    assert [msgspec.msgpack.decode(payload, type=LabelRow) for _, payload in read_rows(_log(rows))] == rows


@given(st.lists(labels, min_size=1, max_size=4), st.data())
def test_a_torn_frame_hides_nothing_before_it(rows: list[LabelRow], data: st.DataObject) -> None:
    whole = _log(rows)
    cut = data.draw(st.integers(0, len(whole)))
    read = list(read_rows(whole[:cut]))
    ends = [end for end, _ in read_rows(whole)]
    assert [end for end, _ in read] == [end for end in ends if end <= cut]


@given(st.lists(labels, min_size=2, max_size=4), st.data())
def test_reading_goes_on_where_it_ended(rows: list[LabelRow], data: st.DataObject) -> None:
    whole = _log(rows)
    cut = data.draw(st.integers(len(MAGIC), len(whole)))
    first = list(read_rows(whole[:cut]))
    start = first[-1][0] if first else 0
    assert [*first, *read_rows(whole, start)] == list(read_rows(whole))


@given(st.lists(labels, min_size=1, max_size=4), st.data())
def test_an_altered_byte_is_never_read_as_a_row(rows: list[LabelRow], data: st.DataObject) -> None:
    whole = bytearray(_log(rows))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    original = list(read_rows(_log(rows)))
    read = []
    try:
        for frame in read_rows(bytes(whole)):
            read.append(frame)
    except ValueError:
        pass
    assert read == original[: len(read)]
    assert len(read) < len(original)


def test_a_length_beyond_the_limit_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ValueError, match=f"says {MAX_ROW_BYTES + 1} bytes"):
        list(read_rows(MAGIC + (MAX_ROW_BYTES + 1).to_bytes(4, "little") + bytes(100)))


def test_another_file_is_refused() -> None:
    with pytest.raises(ValueError, match="not a log"):
        list(read_rows(b"PAR1" + bytes(100)))


def test_the_hour_is_that_of_utc() -> None:
    assert hour_of(1_384_000_000_000) == "20131109T12"
    assert hour_of(1_384_002_000_000 - 1) == hour_of(1_383_998_400_000) == "20131109T12"
    assert math.isclose(1_384_002_000_000 % 3_600_000, 0)
