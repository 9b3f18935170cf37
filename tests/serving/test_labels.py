"""Labels: each is checked alone, the accepted ones are fsynced before the answer."""

from __future__ import annotations

import itertools
import json
import os
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from serinus.errors import BadInput
from serinus.ids import uuid7
from serinus.records import LabelRow, PredictionRow, encode_row, hour_of
from serving.event_times import EventTimes, holds_token
from serving.label_process import Call, Done, Loop
from serving.labels import LabelDesk, Values, parse_labels
from serving.membership import Membership
from serving.recorder import LogWriter

NOW = 1_700_000_000_000
TIMES = EventTimes(NOW, may_replay=False)
starts = itertools.count()


def predict(root: Path, event_ms: int, rows: int = 1, writer: str = "w") -> Any:
    """Write a prediction's rows as a front door does; returns its id."""
    identity = uuid7(event_ms)
    log = LogWriter(root, "predictions", f"{writer}-{next(starts)}")  # a name is never used again
    for index in range(rows):
        row = PredictionRow(identity.bytes, index, "stable", "e", "", 1, [], {}, 5)
        log.append("m", hour_of(event_ms), encode_row(row))
    log.close()
    return identity


def take(desk: LabelDesk, *bodies: bytes, form: Any = "json") -> list[Done]:
    """What becomes of these calls, which have come together."""
    loop = Loop(desk)
    for number, body in enumerate(bodies):
        loop.begin(Call(number, form, "m", {"late": Values()}, NOW, False, 0, len(body)), body)
    found: list[Done] = []
    while loop.active:
        found += loop.turn()
    return sorted(found, key=lambda done: done.number)


def body(*labels: Any) -> bytes:
    return json.dumps(labels).encode()


def label(identity: Any, **more: Any) -> dict[str, Any]:
    return {"id": str(identity), "task": "late", "value": 1, **more}


def written(root: Path, tools: Any) -> list[LabelRow]:
    return list(tools.read_log(root, "labels", LabelRow))


def test_good_rows_are_kept_and_bad_ones_are_refused_alone(tmp_path: Path, tools: Any) -> None:
    identity = predict(tmp_path, NOW, rows=2)
    bad = [
        label(uuid7(NOW)),
        label(identity, index=2),
        label(identity, index=-1),
        label(identity, task="diverted"),
        label(identity, value=2),
        label(identity, value=True),
        label("no-id"),
        label(uuid7(1_000)),
        label(identity, known_ms=NOW + 600_000),
        "text",
        {},
    ]
    (done,) = take(LabelDesk(tmp_path, "w"), body(label(identity), *bad, label(identity, index=1, known_ms=NOW - 5)))
    assert done.accepted == 2
    assert [refused.row for refused in done.refused] == list(range(1, 12))
    assert [(row.index, row.known_ms) for row in written(tmp_path, tools)] == [(0, NOW), (1, NOW - 5)]


def test_a_label_lies_in_the_hour_of_its_prediction(tmp_path: Path) -> None:
    event_ms = NOW - 40 * 86_400_000
    take(LabelDesk(tmp_path, "w"), body(label(predict(tmp_path, event_ms))))
    assert (tmp_path / "labels" / "m" / hour_of(event_ms) / "w.log").is_file()


def test_calls_that_wait_share_an_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tools: Any) -> None:
    identity = predict(tmp_path, NOW)
    real, synced = os.fsync, list[int]()

    def counted(fd: int) -> None:
        if "labels" in os.readlink(f"/proc/self/fd/{fd}") and os.readlink(f"/proc/self/fd/{fd}").endswith(".log"):
            synced.append(fd)
        real(fd)

    monkeypatch.setattr(os, "fsync", counted)
    calls = [body(label(identity))] * 50
    synced.clear()
    assert [done.accepted for done in take(LabelDesk(tmp_path, "w"), *calls)] == [1] * 50
    assert len(written(tmp_path, tools)) == 50
    assert 1 <= len(synced) <= 2


def test_nothing_is_acknowledged_when_the_disk_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_fd: int) -> None:
        raise OSError("the disk is gone")

    identity = predict(tmp_path, NOW)
    desk = LabelDesk(tmp_path, "w")
    assert take(desk, body(label(identity)))[0].accepted == 1
    monkeypatch.setattr(os, "fsync", broken)
    calls = [body(label(identity))] * 3
    assert [(done.fault, done.detail, done.accepted) for done in take(desk, *calls)] == [
        ("disk", "the disk is gone", 0)
    ] * 3
    monkeypatch.undo()
    assert take(desk, body(label(identity)))[0].accepted == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"labels":[]}',
        b'{"model":"m","labels":3}',
        b'{"model":"m","complete_to":{"source":"../x","event_ms":1}}',
    ],
)
def test_a_body_that_is_no_call_is_bad_input(body: bytes) -> None:
    with pytest.raises(BadInput):
        parse_labels(body)


def test_membership_reads_what_every_writer_appended_and_only_that(tmp_path: Path) -> None:
    membership, hour = Membership(tmp_path), hour_of(NOW)
    one = predict(tmp_path, NOW)
    assert membership.rows_of("m", hour, one.bytes, set()) == 1
    two, three = predict(tmp_path, NOW, rows=3), predict(tmp_path, NOW, writer="other")
    looked = {("m", hour)}
    assert membership.rows_of("m", hour, two.bytes, looked) == 0  # this caller has looked already
    assert membership.rows_of("m", hour, two.bytes, set()) == 3
    assert membership.rows_of("m", hour, three.bytes, looked) == 1
    assert membership.rows_of("m", hour, one.bytes, looked) == 1


def test_membership_forgets_the_oldest_partitions_and_reads_them_again(tmp_path: Path) -> None:
    membership = Membership(tmp_path, max_ids=5)
    hours = [NOW + number * 3_600_000 for number in range(4)]
    known = {event_ms: [predict(tmp_path, event_ms) for _ in range(4)] for event_ms in hours}
    for event_ms in (*hours, *hours):
        for identity in known[event_ms]:
            assert membership.rows_of("m", hour_of(event_ms), identity.bytes, set()) == 1
    assert len(membership._partitions) == 1


def test_a_damaged_log_hides_only_what_follows_the_damage(tmp_path: Path) -> None:
    one = predict(tmp_path, NOW)
    (path,) = (tmp_path / "predictions" / "m" / hour_of(NOW)).glob("*.log")
    with path.open("ab") as file:
        file.write(b"\x04\0\0\0\0\0\0\0junk")
    other = predict(tmp_path, NOW, writer="other")
    membership = Membership(tmp_path)
    for identity in (one, other):
        assert membership.rows_of("m", hour_of(NOW), identity.bytes, set()) == 1


def test_only_the_present_is_taken_without_the_replay_token() -> None:
    for event_ms in (NOW - 399 * 86_400_000, NOW + 299_000):
        TIMES.check(event_ms, "id")
    for event_ms in (NOW - 401 * 86_400_000, NOW + 301_000, -1, 1 << 48):
        with pytest.raises(ValueError, match="id: "):
            TIMES.check(event_ms, "id")
    EventTimes(NOW, may_replay=True).check(1_000, "id")


def test_a_token_is_compared_by_its_digest() -> None:
    digest = "ac203c9843b5bd8c883e07039ff82820c94422010be6108bb82403ca25376a22"  # sha256 of b"replay"
    assert holds_token(b"Bearer replay", digest)
    assert holds_token(b"bearer replay", digest)
    for wrong in (b"", b"Bearer", b"Bearer other", b"Basic replay", b"Bearer " + b"x" * 1000):
        assert not holds_token(wrong, digest)
    assert not holds_token(b"Bearer ", "")


def test_prediction_rows_still_begin_with_what_membership_reads() -> None:
    assert PredictionRow.__struct_fields__[:2] == ("id", "index")
    assert msgspec.inspect.type_info(PredictionRow).array_like  # type: ignore[attr-defined]
    assert time.time() * 1000 > NOW


def test_where_not_all_is_recorded_a_label_of_nothing_is_taken_and_dropped(tmp_path: Path, tools: Any) -> None:
    identity = predict(tmp_path, NOW)
    said = body(label(uuid7(NOW)), label(identity), label(identity, task="diverted"))
    loop, found = Loop(LabelDesk(tmp_path, "w")), []
    loop.begin(Call(0, "json", "m", {"late": Values()}, NOW, False, 0, len(said), sampled=True), said)
    while loop.active:
        found += loop.turn()
    assert found[0].accepted == 2
    assert [refused.row for refused in found[0].refused] == [2]
    assert [row.id for row in written(tmp_path, tools)] == [identity.bytes]
