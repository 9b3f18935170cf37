"""Up to when everything that matters lies in the logs."""

from __future__ import annotations

from pathlib import Path

import msgspec

from monitors.watermark import Watermark, lost_rows, read_marks
from serinus.records import Mark

NOW = 1_000_000


def test_nothing_said_is_no_watermark() -> None:
    assert Watermark().update([], NOW) is None
    assert Watermark().update([Mark("a", NOW)], NOW) is None


def test_the_slowest_source_and_the_furthest_writer_count() -> None:
    marks = [Mark("a", NOW, {"x": 50, "y": 90}, {"x": NOW, "y": NOW}), Mark("b", NOW, {"x": 70}, {"x": NOW})]
    assert Watermark().update(marks, NOW) == 70


def test_every_living_writer_must_have_written_since() -> None:
    watermark = Watermark()
    said = Mark("a", NOW, {"x": 50}, {"x": NOW})
    assert watermark.update([said, Mark("b", NOW - 100)], NOW) is None
    assert watermark.update([said, Mark("b", NOW + 1)], NOW + 1) == 50


def test_a_writer_that_ended_is_not_waited_for_and_one_that_is_silent_for_a_while() -> None:
    said = Mark("a", NOW, {"x": 50}, {"x": NOW})
    assert Watermark().update([said, Mark("b", NOW - 10, ended=True)], NOW) == 50
    assert Watermark().update([said, Mark("b", NOW - 10, outstanding_ms=3, ended=True)], NOW) == 50
    assert Watermark().update([said, Mark("b", NOW - 59_000)], NOW) is None
    assert Watermark().update([said, Mark("b", NOW - 60_001)], NOW) == 50


def test_losses_belong_to_the_tick_in_which_their_minute_ends() -> None:
    marks = [Mark("a", NOW, lost_by_minute={9: 5, 10: 7, 11: 1}), Mark("b", NOW, lost_by_minute={10: 2}, ended=True)]
    assert lost_rows(marks, 600_000, 660_000) == 9
    assert [lost_rows(marks, at * 64_000, (at + 1) * 64_000) for at in range(8, 12)] == [0, 5, 9, 1]
    assert lost_rows(marks, 0, 10**9) == 15


def test_what_is_outstanding_holds_it_back() -> None:
    watermark = Watermark()
    marks = [Mark("a", NOW, {"x": 50}, {"x": NOW}), Mark("b", NOW, outstanding_ms=30)]
    assert watermark.update(marks, NOW) == 29
    assert watermark.update([marks[0], Mark("b", NOW + 1)], NOW + 1) == 50


def test_it_advances_although_more_is_said_than_the_others_confirm() -> None:
    watermark, seen = Watermark(), []
    for at in range(0, 2_000, 10):  # a source says more every 10 ms; the other writer marks every 250 ms
        marks = [Mark("a", NOW + at, {"x": at}, {"x": NOW + at}), Mark("b", NOW + at // 250 * 250)]
        seen.append(watermark.update(marks, NOW + at))
    assert seen[-1] == 1_750
    assert [each for each in seen if each is not None] == sorted(each for each in seen if each is not None)


def test_it_never_falls() -> None:
    watermark = Watermark()
    assert watermark.update([Mark("a", NOW, {"x": 50}, {"x": NOW})], NOW) == 50
    assert watermark.update([Mark("a", NOW + 1, {"x": 50}, {"x": NOW}, outstanding_ms=3)], NOW + 1) == 50
    assert watermark.update([], NOW + 2) == 50


def test_marks_are_read_and_a_broken_one_is_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "marks" / "ads"
    folder.mkdir(parents=True)
    (folder / "a.json").write_bytes(msgspec.json.encode(Mark("a", NOW)))
    (folder / "b.json").write_bytes(b"{")
    assert read_marks(tmp_path, "ads") == [Mark("a", NOW)]
    assert read_marks(tmp_path, "none") == []
