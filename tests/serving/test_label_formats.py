"""Labels as JSON, NDJSON, Parquet and Arrow: the same rows, the same refusals, and files that lie."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serinus.ids import uuid7
from serinus.records import LabelRow, PredictionRow, encode_row, hour_of
from serving.ask import joined_id
from serving.label_formats import BATCH, MAX_ROWS
from serving.label_process import Call, Done, Loop
from serving.labels import MAX_LABELS, LabelDesk, Values
from serving.recorder import LogWriter

NOW = time.time_ns() // 1_000_000
FORMS = ("json", "ndjson", "parquet", "arrow")
Rows = list[dict[str, Any]]


def predict(root: Path, *ids: Any) -> None:
    log = LogWriter(root, "predictions", "w")
    for identity in ids:
        row = PredictionRow(identity.bytes, 0, "stable", "e", "", 1, [], {}, 5)
        log.append("m", hour_of(identity.int >> 80), encode_row(row))
    log.close()


def body_of(form: str, rows: Rows) -> bytes:
    if form == "json":
        return json.dumps(rows).encode()
    if form == "ndjson":
        return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    table, out = pa.Table.from_pylist(rows), io.BytesIO()
    if form == "parquet":
        pq.write_table(table, out)
    else:
        with pa.ipc.new_stream(out, table.schema) as stream:
            stream.write_table(table)
    return out.getvalue()


def take(root: Path, form: Any, body: bytes) -> Done:
    loop = Loop(LabelDesk(root, f"w-{form}"))
    loop.begin(Call(0, form, "m", dict.fromkeys(["late", "cancelled"], Values()), NOW, False, 0, len(body)), body)
    while True:
        if over := loop.turn():
            return over[0]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_the_same(form: str, tmp_path: Path, tools: Any) -> None:
    one, two = uuid7(NOW), joined_id("order 5", NOW - 7_200_000)
    predict(tmp_path, one, two)
    rows: Rows = [
        {"id": str(one), "task": "late", "value": 1.0, "index": 0, "known_ms": NOW - 5},
        {"join_key": "order 5", "event_time_ms": NOW - 7_200_000, "task": "cancelled", "value": 0.0},
        {"id": str(one), "task": "late", "value": 0.5},
        {"id": str(one), "join_key": "order 5", "task": "late", "value": 1.0},
        {"join_key": "order 5", "task": "late", "value": 1.0},
        {"join_key": "order 6", "event_time_ms": NOW, "task": "late", "value": 1.0},
        {"id": str(uuid7(NOW)), "task": "late", "value": 1.0},
        {"id": str(one), "task": "diverted", "value": 1.0},
        {"id": str(one), "task": "late", "value": 1.0, "index": 3},
        {"task": "late", "value": 1.0},
    ]
    columns = dict.fromkeys(name for row in rows for name in row)
    if form in ("parquet", "arrow"):
        rows = [{name: row.get(name) for name in columns} for row in rows]
    done = take(tmp_path, form, body_of(form, rows))
    assert (done.fault, done.detail, done.accepted) == ("", "", 2)
    assert [refused.row for refused in done.refused] == list(range(2, 10))
    for refused, word in zip(
        done.refused,
        ("0 or 1", "both", "beside join_key", "never answered", "never answered", "'diverted'", "row 3", "UUIDv7"),
        strict=True,
    ):
        assert word in refused.why
    written = tools.read_log(tmp_path, "labels", LabelRow)
    assert sorted((row.id, row.index, row.task, row.value, row.known_ms) for row in written) == sorted(
        [(one.bytes, 0, "late", 1.0, NOW - 5), (two.bytes, 0, "cancelled", 0.0, NOW)]
    )


@pytest.mark.parametrize("form", FORMS)
def test_rows_keep_their_numbers_over_batches(form: str, tmp_path: Path) -> None:
    identity = uuid7(NOW)
    predict(tmp_path, identity)
    bad = {0, BATCH - 1, BATCH, 2 * BATCH + 5}
    rows: Rows = [
        {"id": str(identity), "task": "x" if at in bad else "late", "value": 1} for at in range(2 * BATCH + 9)
    ]
    done = take(tmp_path, form, body_of(form, rows))
    assert ({refused.row for refused in done.refused}, done.accepted) == (bad, len(rows) - len(bad))


def test_natural_types_of_columns_are_taken(tmp_path: Path) -> None:
    identity = uuid7(NOW)
    predict(tmp_path, identity)
    table = pa.table(
        {
            "id": pa.array([str(identity)]).dictionary_encode(),
            "task": pa.array(["late"], pa.large_string()),
            "value": pa.array([True]),
            "index": pa.array([0], pa.uint8()),
            "known_ms": pa.array([NOW * 1000], pa.timestamp("us", "UTC")),
            "remark": pa.array([["not", "looked", "at"]]),
        }
    )
    for form in ("parquet", "arrow"):
        done = take(tmp_path, form, body_of_table(form, table))
        assert (done.accepted, done.refused, done.detail) == (1, [], "")


def body_of_table(form: str, table: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    if form == "parquet":
        pq.write_table(table, out, **options)
    else:
        with pa.ipc.new_stream(out, table.schema) as stream:
            stream.write_table(table)
    return out.getvalue()


def good(rows: int) -> pa.Table:
    return pa.table({"id": ["x"] * rows, "task": ["late"] * rows, "value": [1.0] * rows})


@pytest.mark.parametrize("form", ["parquet", "arrow"])
@pytest.mark.parametrize(
    ("columns", "word"),
    [
        ({"task": ["late"], "value": [1.0]}, "'id' or 'join_key'"),
        ({"id": ["x"], "task": ["late"]}, "'value'"),
        ({"id": [1], "task": ["late"], "value": [1.0]}, "column 'id' is int64"),
        ({"id": ["x"], "task": ["late"], "value": ["1"]}, "column 'value' is string"),
        ({"id": ["x"], "task": ["late"], "value": [[1.0]]}, "column 'value' is list"),
    ],
)
def test_columns_that_are_no_labels_are_named(form: str, columns: Any, word: str, tmp_path: Path) -> None:
    done = take(tmp_path, form, body_of_table(form, pa.table(columns)))
    assert (done.fault, word in done.detail) == ("input", True), done.detail


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_too_many_rows_are_refused(form: str, tmp_path: Path) -> None:
    table = pa.table({name: pa.nulls(MAX_ROWS + 1, kind) for name, kind in
                      (("id", pa.string()), ("task", pa.string()), ("value", pa.float64()))})  # fmt: skip
    body = body_of_table(form, table)
    done = take(tmp_path, form, body)
    assert (done.fault, "send" in done.detail or "at most" in done.detail) == ("size", True), done.detail


def test_too_many_labels_in_json_are_refused_and_long_lists_of_refusals_are_cut(tmp_path: Path) -> None:
    assert take(tmp_path, "json", b"[" + b"0," * MAX_LABELS + b"0]").fault == "size"
    done = take(tmp_path, "ndjson", b"0\n" * (MAX_LABELS + 7))
    assert (len(done.refused), done.more_refused, done.accepted) == (MAX_LABELS, 7, 0)


def test_a_damaged_file_is_bad_input_wherever_it_is_damaged(tmp_path: Path) -> None:
    for form in ("parquet", "arrow"):
        body = body_of_table(form, good(50))
        for at in range(0, len(body), max(1, len(body) // 60)):
            spoilt = body[:at] + bytes([body[at] ^ 0xFF]) + body[at + 1 :]
            for some in (spoilt, body[:at]):
                assert take(tmp_path, form, some).fault in ("", "input", "size")


def test_a_small_call_does_not_wait_for_a_large_one(tmp_path: Path) -> None:
    identity = uuid7(NOW)
    predict(tmp_path, identity)
    loop = Loop(LabelDesk(tmp_path, "w"))
    for number, rows in enumerate((50 * BATCH, 1)):
        body = body_of("ndjson", [{"id": str(identity), "task": "late", "value": 1}] * rows)
        loop.begin(Call(number, "ndjson", "m", {"late": Values()}, NOW, False, 0, len(body)), body)
    order: list[int] = []
    turns = 0
    while loop.active:
        turns += 1
        order += [done.number for done in loop.turn()]
        assert 1 in order or turns < 3
    assert order == [1, 0]


def test_a_label_waits_a_moment_for_its_request_to_come_into_the_log(tmp_path: Path) -> None:
    identity = uuid7(NOW)
    loop = Loop(LabelDesk(tmp_path, "w"))
    body = body_of("json", [{"id": str(identity), "task": "late", "value": 1}])
    loop.begin(Call(0, "json", "m", {"late": Values()}, NOW, False, 0, len(body)), body)
    assert [loop.turn(), loop.turn()] == [[], []]
    assert loop.idle
    predict(tmp_path, identity)
    done: list[Done] = []
    while not done:
        done = loop.turn()
    assert (done[0].accepted, done[0].refused) == (1, [])
