"""Evidence is the same to the bit whether its rows lie in frames or in Parquet; what is too old goes."""

from __future__ import annotations

import itertools
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from monitors.assess import Assessor
from monitors.follower import Follower, read_tick
from monitors.log import LogReader
from serinus.evidence import WorkItem
from serinus.records import (
    InputRow,
    LabelRow,
    Mark,
    PredictionRow,
    Score,
    encode_row,
    hour_of,
    log_folder,
)
from serinus.sla import Sla
from serving.archiver import Archiver
from serving.compact import KEEP_DAYS, run
from serving.recorder import LogWriter
from serving.retention import drop_old
from tests.serving.archived import HOUR_MS, LATER, START, identity, prediction, write


@pytest.fixture
def item() -> WorkItem:
    sla = Sla.model_validate(
        {
            "model": "m",
            "tasks": {"click": {"label_window_s": 1800, "absent": "negative"}},
            "slices": {"country": ["BR", "DE"]},
            "tick_s": 3600,
            "freeze_scores": 200,
        }
    )
    return WorkItem(rollout="r1", model="m", sla=sla, baseline=1, candidate=2, alpha=0.05, started_event_ms=START)


def world(root: Path, hours: int) -> None:
    """Predictions of both versions and labels, by two writers; some rows come twice."""
    pick = random.Random(3)
    for hour in range(hours):
        event = START + hour * HOUR_MS
        logs = {kind: [LogWriter(root, kind, f"w{hour}-{at}") for at in range(2)] for kind in ("predictions", "labels")}
        for number in range(60):
            at, truth = identity(hour * 1000 + number, event + number * 59_000), pick.random()
            for arm, version, p in (("stable", 1, truth), ("shadow", 2, 0.6 * truth + 0.4 * pick.random())):
                score = [Score("click", p, version)]
                row = PredictionRow(at, 0, arm, f"u{number % 17}", "r1", 1, score, {"country": "BR"}, 5)
                for log in logs["predictions"][: 2 if number % 10 == 0 else 1]:
                    log.append("m", hour_of(event), encode_row(row))
            if pick.random() < truth:
                logs["labels"][number % 2].append(
                    "m", hour_of(event), encode_row(LabelRow(at, 0, "click", 1.0, event + number * 59_000 + 1000))
                )
        for log in itertools.chain(*logs.values()):
            log.close()


def looks(root: Path, item: WorkItem, hours: int, between: Callable[[int], object] = lambda _: None) -> list[str]:
    assessor, reader, found = Assessor(item), LogReader(root, "m", ("country",)), []
    for hour in range(hours):
        between(hour)
        tick = read_tick(item, reader, START + hour * HOUR_MS, START + (hour + 1) * HOUR_MS)
        found.append(assessor.consume(tick).digest)
    return found


def test_evidence_is_the_same_to_the_bit(tmp_path: Path, item: WorkItem) -> None:
    """Before, while (one reader goes on as files change under it) and after."""
    world(tmp_path, 12)
    forever = dict.fromkeys(KEEP_DAYS, 1e6)
    expected = looks(tmp_path, item, 12)

    def compacted(hour: int) -> None:
        for kind in ("predictions", "labels"):
            for at in range(max(0, hour - 1), hour + 1):
                path = log_folder(tmp_path, kind, "m", hour_of(START + at * HOUR_MS))
                assert Archiver(path, kind, 0.0).run(LATER) or at < hour

    assert looks(tmp_path, item, 12, compacted) == expected
    assert not list(tmp_path.glob("*/m/*/*.log"))
    assert looks(tmp_path, item, 12) == expected
    late = identity(5, START + 5)  # a row beside the Parquet file of its hour
    write(tmp_path, "labels", "late", [LabelRow(late, 0, "click", 1.0, START + 9)]).close()
    before = looks(tmp_path, item, 12)
    assert run(tmp_path, 0.0, forever, LATER) == 1
    assert looks(tmp_path, item, 12) == before


def test_old_hours_go_and_what_is_awaited_stays(tmp_path: Path) -> None:
    now = START / 1000 + 40 * 86_400
    for kind in ("predictions", "labels", "inputs"):
        for days in (0, 20, 39):
            event = START + days * 86_400_000
            row: Any = {
                "predictions": prediction(1, event),
                "labels": LabelRow(identity(1, event), 0, "t", 1.0, event),
                "inputs": InputRow(identity(1, event), "u", 1, []),
            }[kind]
            write(tmp_path, kind, "w", [row], event).close()  # type: ignore[arg-type]
    assert drop_old(tmp_path, KEEP_DAYS, now) == 0  # just written, whatever their event time
    for path in tmp_path.rglob("*.log"):
        os.utime(path, (START / 1000, START / 1000))

    def left() -> dict[str, int]:
        return {kind: len(list((tmp_path / kind / "m").iterdir())) for kind in ("predictions", "labels", "inputs")}

    mark = tmp_path / "marks" / "m" / "w.json"
    mark.parent.mkdir(parents=True)
    mark.write_bytes(msgspec.json.encode(Mark("w", int(now * 1000), outstanding_ms=START + 20 * 86_400_000 + 7)))
    assert drop_old(tmp_path, KEEP_DAYS, now) == 3
    assert left() == {"predictions": 2, "labels": 2, "inputs": 2}
    mark.write_bytes(msgspec.json.encode(Mark("w", int(now * 1000))))
    assert drop_old(tmp_path, KEEP_DAYS, now) == 1
    assert left() == {"predictions": 2, "labels": 2, "inputs": 1}


def test_a_monitor_that_starts_again_goes_on_as_if_nothing_had_changed_on_disk(tmp_path: Path, item: WorkItem) -> None:
    """Consumed, saved, compacted, the oldest hours dropped; then the process begins again from its checkpoint."""
    world(tmp_path, 12)
    end = START + 14 * HOUR_MS
    whole = Follower.start(item, tmp_path, tmp_path / "whole")
    expected = [evidence.digest for evidence in iter(lambda: whole.look(end), None)]
    first = Follower.start(item, tmp_path, tmp_path / "state")
    found = [first.look(START + 7 * HOUR_MS) for _ in range(7)]
    first.save()
    posted = item.model_copy(update={"last_tick_ms": first.at_ms})
    assert run(tmp_path, 0.0, dict.fromkeys(KEEP_DAYS, 1e6), LATER) > 0
    for kind in ("predictions", "labels"):
        for hour in range(5):  # consumed, and no label of theirs is waited for
            shutil.rmtree(log_folder(tmp_path, kind, "m", hour_of(START + hour * HOUR_MS)))
    again = Follower.start(posted, tmp_path, tmp_path / "state")
    found += list(iter(lambda: again.look(end), None))
    assert [evidence.digest for evidence in found if evidence is not None] == expected
