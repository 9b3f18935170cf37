"""What whole days may do, before enough of them were seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.simulations.crowd import START_MS, Crowd, Drawn, ticks
from benchmarks.simulations.trial import Outcome, Trial, item_of, roll
from monitors import metrics
from monitors.days import DIFFERENCE_DAY_SD, MIN_BLOCKS, unseen
from monitors.groupings import COLUMNS, N, Y
from monitors.windows import Groups, Windows
from serinus.sla import Sla

TRIAL = Trial(suite="test", case="days", seed=0)


def days_of(*arms: list[int], windows: list[list[bool]] | None = None) -> Windows:
    """Positives per day of both arms (one list: paired); `windows`: which days each one holds, all of them."""
    positives = np.array([arms[0], arms[-1]], np.float64)
    sums = np.zeros((1, 2, COLUMNS, positives.shape[1]))
    sums[0, :, Y], sums[0, :, N] = positives, 4 * positives + 1
    held = np.array(windows or [[True] * positives.shape[1]])
    none = np.zeros((1, 2, 2, positives.shape[1], 0))
    days = Groups(sums, held, none, np.zeros((1, 2, positives.shape[1])))
    totals = np.broadcast_to(sums.sum(axis=3), (len(held), 2, COLUMNS))
    return Windows(totals, np.zeros((len(held), 2, 2, 0)), np.zeros((2, 0)), days, [days])


@pytest.mark.parametrize(
    ("arms", "days"),
    [
        ([[100]], 1),
        ([[50, 50]], 2),
        ([[25, 25, 25, 25]], 4),
        ([[1000, 1]], 1.002),  # one positive after midnight makes no second day
        ([[90, 30]], 1.6),
        ([[50, 50], [90, 30]], 1.6),  # the arm that knows less
    ],
)
def test_unseen_days_count_by_their_shares(arms: list[list[int]], days: float) -> None:
    assert unseen(days_of(*arms), Y, 0.1)[0] == pytest.approx(0.01 / days, rel=1e-3)


def test_five_days_speak_for_themselves_and_a_young_window_does_not() -> None:
    whole, young = [True] * 6, [False] * 4 + [True] * 2
    assert unseen(days_of([10] * 6, windows=[whole, young]), Y, 0.1).tolist() == [0.0, pytest.approx(0.005)]
    assert unseen(days_of([10] * (MIN_BLOCKS - 1) + [0, 0]), Y, 0.1)[0] == pytest.approx(0.0025)
    assert unseen(days_of([10] * 6, [10] * 4 + [0, 0]), Y, 0.1)[0] == pytest.approx(0.0025)


def test_before_any_block_of_time_all_is_one_day() -> None:
    assert unseen(replace(days_of([5]), times=[]), Y, 0.1)[0] == pytest.approx(0.01)


def sla_of(margin: float) -> Sla:
    return Sla.model_validate(
        {
            "model": "ads",
            "tasks": {"click": {"label_window_s": 1_800, "absent": "negative"}},
            "tick_s": 3_600,
            "freeze_scores": 500,
            "guards": [{"task": "click", "metric": "auc", "margin": margin}],
        }
    )


def rolled(drawn: Drawn, margin: float) -> Outcome:
    sla = sla_of(margin)
    return roll(TRIAL, item_of(sla, START_MS), ticks(drawn, sla, ("replay",)), replay=True)


def test_one_day_that_is_bad_for_everybody_rolls_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dense traffic, and a day on which the candidate loses two hundredths more than the margin, whoever asks."""
    day = Crowd(hours=23, sessions=1_500.0, burst=1.0, users=50_000, taste=0.0, shock=0.0, err=0.0, worse=0.22).draw(1)
    found = rolled(day, 0.002)
    assert found.estimate is not None
    assert found.estimate - 0.002 == pytest.approx(0.016, abs=0.006)  # within two standard deviations of a day
    assert found.word == "undecided"
    monkeypatch.setattr(metrics, "DIFFERENCE_DAY_SD", 0.0)
    assert rolled(day, 0.002).word == "rolled back"


def test_a_day_that_breaks_a_model_is_enough() -> None:
    found = rolled(Crowd(hours=23, sessions=200.0, worse=4.0).draw(1), 0.01)
    assert found.word == "rolled back"
    assert found.hours <= 6
    assert DIFFERENCE_DAY_SD > 0
