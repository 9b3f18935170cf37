"""Answers that could not be recorded: evidence knows how many, and where they are many it proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from monitors.assess import Assessor
from monitors.checkpoint import load, save
from monitors.follower import read_tick
from monitors.log import LogReader
from monitors.rows import Tick
from serinus.evidence import Evidence, WorkItem
from serinus.ids import uuid7
from serinus.records import Mark, PredictionRow, Score

HOUR_MS, START = 3_600_000, 240 * 3_600_000
Draw = Callable[..., Tick]


def looks(assessor: Assessor, draw: Draw, hours: range, seen: tuple[int, int]) -> list[Evidence]:
    """`seen`: answers and lost answers of each tick."""
    found = []
    for at in hours:
        tick = draw(np.random.default_rng(at), START + at * HOUR_MS, assessor.item.sla.tasks, same=True)
        found.append(assessor.consume(replace(tick, counts={"answers": seen[0], "answers_lost": seen[1]})))
    return found


@pytest.mark.parametrize(("lost", "verdict"), [(0, "satisfied"), (10, "satisfied"), (11, "error"), (1_000, "error")])
def test_above_one_percent_nothing_is_satisfied(item: WorkItem, draw: Draw, lost: int, verdict: str) -> None:
    last = looks(Assessor(item), draw, range(1, 31), (1_000 - lost, lost))[-1]
    assert last.verdict == verdict
    assert last.counts.get("answers_lost", 0) == 30 * lost
    required = [cell for cell in last.cells if cell.role == "required"]
    assert all(cell.verdict == verdict for cell in required)
    if lost > 10:
        assert required[0].why == f"{lost:,} of 1,000 answers could not be recorded"


def test_an_hour_that_is_lost_holds_until_enough_was_seen_again(item: WorkItem, draw: Draw, tmp_path: Path) -> None:
    assessor = Assessor(item)
    assert looks(assessor, draw, range(1, 31), (1_000, 0))[-1].verdict == "satisfied"
    assert looks(assessor, draw, range(31, 32), (0, 350))[-1].verdict == "error"
    after = looks(assessor, draw, range(32, 37), (1_000, 0))
    assert after[0].verdict == "error"
    assert "350 of 31,350 answers" in next(cell.why for cell in after[0].cells if cell.verdict == "error")
    assert after[-1].verdict == "satisfied"
    save(assessor, tmp_path / "r1.npz")
    again = load(tmp_path / "r1.npz")
    assert [e.digest for e in looks(again, draw, range(37, 39), (5, 3))] == [
        e.digest for e in looks(assessor, draw, range(37, 39), (5, 3))
    ]


def test_what_was_violated_stays_so_whatever_is_lost(item: WorkItem, draw: Draw) -> None:
    assessor, rng = Assessor(item), np.random.default_rng(0)
    for at in range(1, 121):
        tick = draw(rng, START + at * HOUR_MS, item.sla.tasks, worse=2.0, n=200)
        evidence = assessor.consume(replace(tick, counts={"answers": 1, "answers_lost": 9}))
    assert evidence.verdict == "violated"


def test_losses_are_read_from_the_marks_of_all_writers(tmp_path: Path, item: WorkItem, write_log: Callable) -> None:
    rows = []
    for number in range(6):
        at = uuid7(START + number, number.to_bytes(10, "big")).bytes
        scores = [Score("click", 0.5, 1), Score("buy", 0.1, 1)]
        rows += [PredictionRow(at, 0, arm, "u", "r1", 1, scores, {}, 7) for arm in ("stable", "shadow")]
    write_log(tmp_path, "ads", rows)
    write_log(tmp_path, "ads", rows[:4], writer="again")  # a spool that was killed has written them twice
    folder = tmp_path / "marks" / "ads"
    folder.mkdir(parents=True)
    minute = START // 60_000
    for name, lost in (("a", {minute: 4, minute + 59: 1, minute + 60: 100}), ("b", {minute + 7: 2, minute - 1: 100})):
        (folder / f"{name}.json").write_bytes(msgspec.json.encode(Mark(name, 1, lost_by_minute=lost)))
    reader = LogReader(tmp_path, "ads", ("country",))
    tick = read_tick(item, reader, START, START + HOUR_MS)
    assert (tick.counts["answers"], tick.counts["answers_lost"]) == (6, 7)
