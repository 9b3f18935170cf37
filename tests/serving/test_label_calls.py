"""Labels over HTTP on a real pool: every form, a flood, and the death of the process that takes them."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import time
import uuid
from collections import Counter
from typing import Any

import aiohttp
import httpx
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.label_calls import MAX_CALLS

NDJSON, PARQUET = "application/x-ndjson", "application/vnd.apache.parquet"
ARROW = "application/vnd.apache.arrow.stream"
POSTS, LABELS = 1_500, 50


@pytest.fixture
def stable(stack: Any) -> Any:
    stack.route()
    return stack


def bodies(rows: list[dict[str, Any]]) -> dict[str, bytes]:
    table, parquet, arrow = pa.Table.from_pylist(rows), io.BytesIO(), io.BytesIO()
    pq.write_table(table, parquet)
    with pa.ipc.new_stream(arrow, table.schema) as stream:
        stream.write_table(table)
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    return {NDJSON: lines, PARQUET: parquet.getvalue(), ARROW: arrow.getvalue()}


def post(stable: Any, kind: str, body: Any, query: str = "?model=flights") -> httpx.Response:
    return stable.http.post(f"/v1/labels{query}", content=body, headers={"content-type": kind})


def test_every_form_is_taken_and_is_in_the_log(stable: Any) -> None:
    identity = stable.infer()["parameters"]["request_id"]
    rows = [
        {"id": identity, "task": "late", "value": 1.0},
        {"id": str(uuid.UUID(int=uuid.UUID(identity).int ^ 1)), "task": "late", "value": 1.0},
    ]
    for kind, body in bodies(rows).items():
        answer = post(stable, kind, body)
        assert answer.status_code == 200, answer.text
        assert (answer.json()["accepted"], [each["row"] for each in answer.json()["refused"]]) == (1, [1])
        assert "never answered" in answer.json()["refused"][0]["why"]
    written = [row for row in stable.labels() if row.id == uuid.UUID(identity).bytes]
    assert [(row.task, row.value, row.index) for row in written] == [("late", 1.0, 0)] * 3


def test_a_join_key_finds_its_request(stable: Any, tools: Any) -> None:
    said = {"join_key": "order 77", "event_time_ms": time.time_ns() // 1_000_000}
    body = tools.request(["EWR"], [1.0], [2.0]) | {"parameters": said}
    assert stable.http.post("/v2/models/flights/infer", json=body).status_code == 200
    labels = [{**said, "task": "late", "value": 1}, {**said, "join_key": "order 78", "task": "late", "value": 1}]
    answer = stable.http.post("/v1/labels", json={"model": "flights", "labels": labels}).json()
    assert (answer["accepted"], [each["row"] for each in answer["refused"]]) == (1, [1])


def test_ndjson_is_taken_as_it_comes_and_rows_keep_their_numbers(stable: Any) -> None:
    identity = stable.infer()["parameters"]["request_id"]
    line = json.dumps({"id": identity, "task": "late", "value": 1}).encode() + b"\n"
    lines = [line] * 30_000  # 2.5 MB, more than one part
    for at in (0, 17_000, 29_999):
        lines[at] = b"[]\n"
    parts = (b"".join(lines[at : at + 500]) for at in range(0, len(lines), 500))
    answer = post(stable, NDJSON, parts).json()
    assert (answer["accepted"], [each["row"] for each in answer["refused"]]) == (29_997, [0, 17_000, 29_999])


@pytest.mark.parametrize(
    ("kind", "query", "body", "status", "word"),
    [
        ("text/csv", "?model=flights", b"a,b", 400, "application/x-ndjson"),
        (NDJSON, "", b"{}", 400, "names no model"),
        (NDJSON, "?model=ships", b"{}", 404, "'ships'"),
        (NDJSON, "?model=flights", b"x" * (2 << 20), 400, "longer than"),
        (PARQUET, "?model=flights", b"PAR1junkPAR1", 400, "parquet"),
        (PARQUET, "?model=flights", b" " * (33 << 20), 413, "at most"),
        (ARROW, "?model=flights", b"\xff" * 100, 400, "arrow"),
        ("application/json", "", b" " * (3 << 20), 413, "NDJSON"),
        ("application/json", "", b'{"model":"flights","labels":{}}', 400, "no array"),
        ("application/json", "", b'{"model":"flights","labels":[' + b"0," * 10_000 + b"0]}", 413, "10000"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_why(
    stable: Any, kind: str, query: str, body: bytes, status: int, word: str
) -> None:
    answer = post(stable, kind, body, query)
    assert (answer.status_code, word in answer.json()["detail"]) == (status, True), answer.text


def test_a_flood_of_labels_fails_no_request_and_what_is_sent_away_can_be_sent_again(stable: Any, tools: Any) -> None:
    identity = stable.infer()["parameters"]["request_id"]
    body = bodies([{"id": identity, "task": "late", "value": 1.0}] * LABELS)[NDJSON]
    before = len(stable.labels())
    counts: Counter[str] = Counter()
    flooding = True

    async def send(http: aiohttp.ClientSession) -> None:
        while True:
            async with http.post("/v1/labels?model=flights", data=body, headers={"content-type": NDJSON}) as answer:
                counts[f"labels {answer.status}"] += 1
                if answer.status == 200:
                    assert (await answer.json())["accepted"] == LABELS
                    return
                assert (answer.status, answer.headers.get("retry-after")) == (503, "1")
            await asyncio.sleep(1)

    async def ask(http: aiohttp.ClientSession) -> None:
        while flooding:
            async with http.post("/v2/models/flights/infer", json=tools.request(["EWR"], [1.0], [2.0])) as answer:
                counts[f"answers {answer.status}"] += 1

    async def story() -> None:
        nonlocal flooding
        many = aiohttp.TCPConnector(limit=6 * MAX_CALLS)
        async with (
            aiohttp.ClientSession(stable.ready["url"], connector=many) as labels,
            aiohttp.ClientSession(stable.ready["url"]) as inference,
        ):
            asking = asyncio.create_task(ask(inference))
            await asyncio.gather(*(send(labels) for _ in range(POSTS)))
            flooding = False
            await asking

    asyncio.run(story())
    assert counts["labels 200"] == POSTS
    assert set(counts) <= {"labels 200", "labels 503", "answers 200"}, counts
    assert counts["answers 200"] > 10, counts
    assert counts["labels 503"], "the bound was reached"
    assert len(stable.labels()) - before == POSTS * LABELS


def test_the_process_that_takes_labels_is_replaced_when_it_is_killed(stable: Any, tools: Any) -> None:
    identity = stable.infer()["parameters"]["request_id"]
    label = {"model": "flights", "labels": [{"id": identity, "task": "late", "value": 1}]}
    send = lambda: stable.http.post("/v1/labels", json=label)  # noqa: E731
    tools.wait_for(lambda: send().status_code == 200)
    for _ in range(3):
        victims = []
        for door in stable.replicas("FrontDoor"):
            with contextlib.suppress(psutil.Error):
                victims += [child for child in door.children() if "serving.label_process" in child.cmdline()]
        assert victims
        for victim in victims:
            victim.kill()
        tools.wait_for(lambda: send().status_code == 200)
