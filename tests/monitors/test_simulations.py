"""A few of the rollouts that `make simulate` plays by the hundred, odd scores too, and what its tables rest on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from benchmarks.simulations import luck, power
from benchmarks.simulations.bounds import at_least, at_most, between
from benchmarks.simulations.crowd import START_MS, Crowd, Drawn, ticks
from benchmarks.simulations.journal import Journal
from benchmarks.simulations.trial import Outcome, Trial, item_of, roll
from monitors.assess import Assessor
from monitors.rows import Floats, Scored, Tick
from serinus.evidence import CellEvidence, Evidence
from serinus.sla import Sla

TRIAL = Trial(suite="test", case="one", seed=0)
AUC = {"task": "click", "metric": "auc", "margin": 0.02}


def sla_of(tick_s: int = 3_600, guards: tuple[dict, ...] = (), **more: object) -> Sla:
    task = {"label_window_s": 1_800, "absent": "negative"}
    fields = {"model": "ads", "tasks": {"click": task}, "tick_s": tick_s, "freeze_scores": 500, "guards": guards}
    return Sla.model_validate({**fields, **more})


def looks(sla: Sla, found: Iterator[Tick], *, replay: bool = True) -> list[Evidence]:
    assessor = Assessor(item_of(sla, START_MS), replay=replay)
    return [assessor.consume(tick) for tick in found]


def changed(drawn: Drawn, b: Callable[[Floats], Floats], a: Callable[[Floats], Floats] = lambda p: p) -> Drawn:
    return replace(drawn, a=a(drawn.a), b=b(drawn.a))


def test_equal_models_among_bursts_and_shocks_are_rolled_back_as_rarely_as_promised() -> None:
    """Six of the simulation's rollouts, with both streams, looked at every 15 minutes."""
    sla = sla_of(900)
    fired = 0
    for seed in range(6):
        drawn = Crowd(hours=36).draw(seed)
        found = roll(TRIAL, item_of(sla, START_MS), ticks(drawn, sla, ("shadow", "canary")))
        fired += found.word == "rolled back"
    assert fired <= 2  # Binomial(6, .05) exceeds 2 with probability .002


def test_equal_models_are_at_a_margin_of_nothing_and_still_rarely_rolled_back() -> None:
    """The hardest null there is: twelve weeks of shocks, one AUC cell with all of alpha, looked at every hour."""
    sla = sla_of(3_600, ({"task": "click", "metric": "auc", "margin": 0.0},))
    week = Crowd(hours=168, sessions=10.0)
    found = [
        roll(TRIAL, item_of(sla, START_MS), ticks(week.draw(seed), sla, ("replay",)), replay=True) for seed in range(12)
    ]
    assert sum(each.word == "rolled back" for each in found) <= 3  # Binomial(12, .05) exceeds 3 with probability .002


def test_a_regression_that_begins_late_is_found_and_named() -> None:
    sla = sla_of(14_400, (AUC,))
    late = Crowd(hours=336, sessions=40.0, shock=0.2, err=0.05, worse=2.5, from_h=144)
    found = roll(TRIAL, item_of(sla, START_MS), ticks(late.draw(0), sla, ("replay",)), replay=True)
    assert found.word == "rolled back"
    assert 144 < found.hours < 336
    assert found.culprits == ("click / overall / auc",)


@pytest.mark.parametrize(
    ("case", "least", "most"),
    [("paired, .10 more", 30, 50), ("paired, .03 more", 150, 700)],
    ids=["large, within hours", "small, within days"],
)
def test_power_is_near_the_table_of_the_page(case: str, least: int, most: int) -> None:
    fired = [power.run(Trial(suite="power", case=case, seed=seed)) for seed in range(10)]
    assert all(each.word == "rolled back" for each in fired)
    assert least <= float(np.median([each.positives for each in fired])) <= most


def cell_of(evidence: Evidence, metric: str = "auc", where: str = "overall") -> CellEvidence:
    return next(each for each in evidence.cells if each.metric == metric and each.slice == where)


@pytest.mark.parametrize(
    ("name", "b"),
    [
        ("identical", lambda p: p),
        ("the same order", lambda p: p**1.01),
        ("float32", lambda p: p.astype(np.float32).astype(np.float64)),
    ],
)
def test_a_model_that_orders_alike_never_fires(name: str, b: Callable[[Floats], Floats]) -> None:
    sla = sla_of(7_200)
    found = looks(sla, ticks(changed(Crowd(hours=144, sessions=40.0).draw(3), b), sla, ("replay",)))
    assert max(each.e for each in found) < 1
    assert cell_of(found[-1]).verdict == "satisfied"
    if name == "identical":
        assert max(each.e for each in found) == 0


@pytest.mark.parametrize(
    ("b", "culprit"),
    [
        (lambda p: np.full_like(p, 0.2), "auc"),
        (np.zeros_like, ""),
        (np.ones_like, ""),
        (lambda p: np.where(p > 0.5, 1.0, 0.0), "log_loss"),
        (lambda p: np.clip(p * 2, 0, 1), "calibration"),
    ],
    ids=["constant", "all 0", "all 1", "saturated", "shifted"],
)
def test_scores_that_say_little_are_found_and_every_number_is_finite(
    b: Callable[[Floats], Floats], culprit: str
) -> None:
    sla = sla_of(7_200)
    calm = Crowd(hours=72, sessions=40.0, shock=0.2, err=0.05)
    found = looks(sla, ticks(changed(calm.draw(4), b), sla, ("replay",)))[-1]
    assert found.verdict == "violated"
    assert any(culprit in name for name in found.culprits)
    for each in found.cells:
        numbers = (each.e_violated, each.e_satisfied, each.estimate, each.low, each.high)
        assert all(value is None or np.isfinite(value) for value in numbers)


def test_two_models_that_are_both_constant_are_alike() -> None:
    sla = sla_of(7_200)
    flat = changed(Crowd(hours=72).draw(5), lambda p: np.full_like(p, 0.3), lambda p: np.full_like(p, 0.3))
    found = looks(sla, ticks(flat, sla, ("replay",)))[-1]
    assert cell_of(found).baseline_value == 0.5
    assert found.e == 0


def test_a_slice_of_thirty_positives_may_speak_and_one_of_fewer_says_how_many_are_missing() -> None:
    sla = sla_of(7_200, slices={"country": ["BR", "DE", "XX"]})
    drawn = Crowd(hours=72, sessions=40.0).draw(6)
    order = np.flatnonzero(drawn.y[0] == 1)
    where = np.zeros(len(drawn.event_ms), np.int64)
    where[order[:31]], where[order[31:50]] = 1, 2
    where[np.flatnonzero(drawn.y[0] == 0)[:200]] = 1
    found = looks(sla, ticks(replace(drawn, places=where[:, None]), sla, ("replay",)))[-1]
    rare = cell_of(found, where="country=XX")
    assert (rare.positives, rare.verdict, rare.e_violated, rare.needs) == (19, "inconclusive", 0.0, 11)
    some = cell_of(found, where="country=DE")
    assert some.positives == 31
    assert some.estimate is not None


def test_an_arm_without_rows_and_labels_that_stop_leave_things_undecided() -> None:
    sla = sla_of(7_200)
    drawn = Crowd(hours=72).draw(7)
    alone = looks(sla, ticks(replace(drawn, canary=np.zeros_like(drawn.canary)), sla, ("canary",)), replay=False)
    assert (alone[-1].verdict, alone[-1].e) == ("inconclusive", 0)
    half = list(ticks(drawn, sla, ("replay",)))
    none = Scored.empty(0)
    silent = [Tick(tick.tick_ms, {("replay", "click"): (none, none)}) for tick in half[12:]]
    found = looks(sla, iter([*half[:12], *silent]))
    assert {each.e for each in found[12:]} == {found[11].e}
    assert {each.verdict for each in found[12:]} == {"inconclusive"}


@given(st.integers(0, 60), st.integers(1, 60))
def test_the_bounds_are_clopper_and_pearson_s(count: int, more: int) -> None:
    of = count + more
    expected = binomtest(count, of).proportion_ci(0.95, "exact")
    assert between(count, of) == pytest.approx((expected.low, expected.high))
    assert at_least(count, of) <= count / of <= at_most(count, of)


@given(st.integers(0, 2**32), st.floats(0.1, 3))
def test_the_exact_auc_of_the_margins_is_scikit_learn_s(seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    y = np.append(rng.integers(0, 2, 60), [0, 1]).astype(float)
    p = np.round(rng.normal(size=62) * size, 1)
    assert luck.exact_auc(y, p) == pytest.approx(roc_auc_score(y, p))


def test_no_side_of_the_crowd_is_better_by_design() -> None:
    assert abs(luck.true_loss(Crowd(hours=48), 40)) < 0.01
    assert luck.true_loss(Crowd(hours=48, worse=1.0), 40) > 0.03


def test_what_is_done_is_not_done_again_and_a_line_cut_off_is_no_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "outcomes.jsonl")
    trials = [TRIAL.model_copy(update={"seed": seed}) for seed in range(3)]
    for trial in trials[:2]:
        journal.add(Outcome(trial=trial, word="undecided", e=0.1, looks=3, hours=1, positives=1, labels=2))
    whole = journal.path.read_text()
    assert journal.missing(trials) == [trials[2]]
    journal.path.write_text(whole[:-20])
    assert journal.missing(trials) == trials[1:]
