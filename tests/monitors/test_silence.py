"""Label sources that fall silent: their tasks wait, are named, and catch up; the others go on."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from monitors.follower import Follower
from monitors.watermark import Watermark
from serinus.evidence import Evidence, WorkItem
from serinus.ids import uuid7
from serinus.records import LabelRow, Mark, PredictionRow, Score
from serinus.sla import Sla

HOUR_MS = 3_600_000
T0 = 240 * HOUR_MS
SPOKE_H = 6
TASKS = {
    "click": {"label_window_s": 1800, "absent": "negative", "heartbeat_s": 7200},
    "buy": {"label_window_s": 1800, "absent": "unlabelled", "given": "click"},
    "rate": {"label_window_s": 1800, "absent": "negative"},
}
SLA = Sla.model_validate({"model": "ads", "tasks": TASKS, "tick_s": 3600, "freeze_scores": 500})
ITEM = WorkItem(rollout="r1", model="ads", sla=SLA, baseline=1, candidate=2, alpha=0.05, started_event_ms=T0)


def mark(clicks: int, rest: int, newest: int) -> Mark:
    told = {"clicks": T0 + clicks * HOUR_MS, "rest": T0 + rest * HOUR_MS}
    tasks = {"clicks": ["click"], "rest": ["buy", "rate"]}
    return Mark("a", 5, told, dict.fromkeys(told, 5), complete_tasks=tasks, newest_ms=T0 + newest * HOUR_MS)


def test_a_silent_source_is_named_and_only_its_tasks_wait() -> None:
    watermark = Watermark()
    watermark.promise(SLA)
    assert watermark.update([mark(8, 10, 10)], 5) == T0 + 8 * HOUR_MS  # behind, by no more than its heartbeat
    assert watermark.silences == ()
    assert watermark.update([mark(8, 20, 20)], 5) == T0 + 18 * HOUR_MS
    assert [(each.source, each.tasks) for each in watermark.silences] == [("clicks", ("click", "buy"))]
    assert watermark.held == {"click": T0 + 8 * HOUR_MS, "buy": T0 + 8 * HOUR_MS}
    assert watermark.silences[0].text == "label source clicks is 12.0 h behind the traffic; click, buy waits"
    assert watermark.update([mark(20, 20, 20)], 5) == T0 + 20 * HOUR_MS
    assert watermark.held == {}


def test_without_a_heartbeat_all_wait_as_ever_and_quiet_traffic_is_no_silence() -> None:
    without = Watermark()
    assert without.update([mark(8, 20, 20)], 5) == T0 + 8 * HOUR_MS
    watermark = Watermark()
    watermark.promise(SLA)
    assert watermark.update([mark(8, 20, 9)], 5) == T0 + 8 * HOUR_MS
    assert watermark.silences == ()


def write(root: Path, write_log: Callable[..., None], spoke_h: int = 60) -> Path:
    """60 hours; both versions rank alike, stable says half of the truth. Everybody's labels come within a minute, after
    `spoke_h` hours only one in ten."""
    rng, rows = np.random.default_rng(2), []
    for number in range(60 * 60):
        event_ms = T0 + number * 60_000
        at, truth = uuid7(event_ms, number.to_bytes(10, "big")).bytes, expit(rng.normal() - 1)
        rest = {"entity": f"u{rng.integers(300)}", "rollout": "r1", "epoch": 1, "latency_us": 5, "slices": {}}
        for arm, version, scale in (("stable", 1, 0.5), ("shadow", 2, 1.0)):
            p = float(truth * scale * np.exp(rng.normal() * 0.05))
            scores = [Score(task, min(p, 1.0), version) for task in TASKS]
            rows.append(PredictionRow(id=at, index=0, arm=arm, scores=scores, **rest))
        for task in ("click", "rate"):
            if rng.random() < truth and (number < spoke_h * 60 or number % 10 == 0):
                rows.append(LabelRow(at, 0, task, 1.0, event_ms + 60_000))
    write_log(root, "ads", rows)
    return root


@pytest.fixture
def log(tmp_path: Path, write_log: Callable[..., None]) -> Path:
    return write(tmp_path / "log", write_log)


def looks(log: Path, state: Path, held: Callable[[int], dict[str, int]], count: int) -> list[Evidence]:
    follower, found = Follower.start(ITEM, log, state), []
    for at in range(1, count + 1):
        evidence = follower.look(T0 + at * HOUR_MS, held(at), ("clicks are silent",) if held(at) else ())
        assert evidence is not None
        found.append(evidence)
        follower.save()
        if at % 17 == 0:  # what waits survives a restart
            follower = Follower.start(ITEM.model_copy(update={"last_tick_ms": T0 + at * HOUR_MS}), log, state)
            assert follower.at_ms == T0 + at * HOUR_MS
    return found


def labels_of(evidence: Evidence, task: str) -> int:
    return max(cell.labels for cell in evidence.cells if cell.task == task and cell.stream == "shadow")


def test_what_waited_is_caught_up_with_to_the_bit(log: Path, tmp_path: Path) -> None:
    def silent(at: int) -> dict[str, int]:
        return dict.fromkeys(("click", "buy"), T0 + 10 * HOUR_MS) if 10 < at <= 40 else {}

    waited = looks(log, tmp_path / "a", silent, 60)
    never = looks(log, tmp_path / "b", lambda _: {}, 60)
    at_end = [labels_of(waited[39], task) for task in ("click", "rate")]
    assert at_end[0] == labels_of(never[9], "click")
    assert at_end[1] == labels_of(never[39], "rate")
    assert waited[20].holds == ("clicks are silent",)
    assert waited[59].holds == ()
    assert waited[59].counts == never[59].counts
    assert labels_of(waited[59], "click") == labels_of(never[59], "click")
    rates = [[cell for cell in each[59].cells if cell.task == "rate"] for each in (waited, never)]
    assert rates[0] == rates[1]
    for one, other in itertools.pairwise([waited[59], never[59]]):
        mine, theirs = ([cell for cell in each.cells if cell.task == "click"] for each in (one, other))
        assert [(c.labels, c.positives, c.baseline_value) for c in mine] == [
            (c.labels, c.positives, c.baseline_value) for c in theirs
        ]


def test_without_the_heartbeat_silence_would_read_as_nobody_clicks(
    tmp_path: Path, write_log: Callable[..., None]
) -> None:
    """The candidate says the truth, stable half of it. While clicks do not come the candidate seems to say too much."""
    log = write(tmp_path / "log", write_log, SPOKE_H)
    believed = looks(log, tmp_path / "a", lambda _: {}, 58)
    held = looks(log, tmp_path / "b", lambda at: dict.fromkeys(TASKS, T0 + min(at, SPOKE_H) * HOUR_MS), 58)
    assert believed[-1].verdict == "violated"
    assert "violated" not in {look.verdict for look in held}
    assert held[-1].holds == ("clicks are silent",)
