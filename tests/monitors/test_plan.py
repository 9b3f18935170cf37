"""Plans: the page's formulas, an example by hand, and guards that can never be decided."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitors.plan import plan_of, run
from monitors.plan_days import Unseen, day_sd
from monitors.plan_params import PlanParams
from monitors.planning import (
    Need,
    Schedule,
    count_needed,
    excess_limit,
    failures_needed,
    j_of,
    kappa_of,
    kappa_unpaired,
    spread_of,
)
from monitors.room import LIMIT_BYTES
from serinus.errors import BadInput
from serinus.ids import uuid7
from serinus.jobs import Job
from serinus.records import LabelRow, PredictionRow, Score
from serinus.sla import Sla

DAY_MS = 86_400_000
DAY_S = 86_400


def sla_of(**changes: Any) -> Sla:
    """One task, one AUC guard that promotion waits for, one slice guard; labels take two days."""
    told: dict[str, Any] = {
        "model": "ads",
        "tasks": {"click": {"label_window_s": 2 * DAY_S, "absent": "negative"}},
        "slices": {"country": ["BR", "DE"]},
        "freeze_scores": 200,
        "guards": [
            {"task": "click", "metric": "auc", "margin": 0.01, "weight": 0.5},
            {"task": "click", "metric": "auc", "margin": 0.03, "by": "country", "role": "optional", "weight": 0.5},
        ],
        "rollout": {"shadow_hold_s": DAY_S, "steps": [{"canary_bp": 1000, "hold_s": DAY_S}], "cycle_s": 7 * DAY_S},
    }
    return Sla.model_validate({**told, **changes})


def guard(plan: dict[str, Any], name: str, stream: str = "shadow") -> Any:
    return next(each for each in plan["guards"] if each["name"] == name and each["stream"] == stream)


@pytest.mark.parametrize(("alpha", "j"), [(0.05, 6.1), (0.0125, 9.1), (0.005, 11.0), (0.001, 14.5), (1e-4, 19.3)])
def test_j_is_the_simulated_one(alpha: float, j: float) -> None:
    assert j_of(alpha) == pytest.approx(j)


@pytest.mark.parametrize(("correlation", "kappa"), [(0.8, 0.027), (0.95, 0.0071), (0.99, 0.0016), (None, 0.120)])
def test_kappa_is_the_simulated_one(correlation: float | None, kappa: float) -> None:
    assert kappa_of(correlation, 0.02) == pytest.approx(kappa)


@given(st.floats(1e-9, 0.4), st.floats(1e-9, 0.4), st.floats(0, 0.999), st.floats(0, 0.999))
def test_surer_and_less_alike_cost_more(alpha: float, other: float, alike: float, less: float) -> None:
    low, high = sorted((alpha, other))
    assert j_of(low) >= j_of(high)
    less, alike = sorted((alike, less))
    assert kappa_of(alike, 0.02) <= kappa_of(less, 0.02) <= kappa_of(None, 0.02)


@pytest.mark.parametrize(
    ("kappa", "excess", "simulated"),
    [(0.0071, 0.01, 560), (0.0071, 0.03, 70), (0.120, 0.01, 8_175), (0.120, 0.03, 850)],
)
def test_counts_are_within_a_third_of_the_simulated_ones(kappa: float, excess: float, simulated: float) -> None:
    assert simulated * 2 / 3 <= count_needed(kappa, 0.05, excess) <= simulated * 4 / 3
    assert count_needed(kappa, 0.05, 0.0) == count_needed(kappa, 0.05, -0.01) == math.inf
    assert count_needed(kappa, 0.05, 0.9) == 30  # the burn-in


def test_the_variance_of_a_sample_is_what_a_bootstrap_finds() -> None:
    rng = np.random.default_rng(3)
    y = (rng.random(4_000) < 0.1).astype(float)
    p = 1 / (1 + np.exp(-(rng.normal(size=4_000) + 1.2 * y - 2)))
    from sklearn.metrics import roc_auc_score

    found = [roc_auc_score(y[at], p[at]) for at in (rng.integers(0, 4_000, 4_000) for _ in range(400))]
    kappa = kappa_unpaired(p, y)
    assert kappa is not None
    assert kappa == pytest.approx(2 * np.var(found) * y.sum(), rel=0.25)  # 400 draws: standard error 7 %
    assert kappa_unpaired(p[:200], y[:200]) is None


def test_an_example_by_hand() -> None:
    """10,000 requests a day, 2 % positives: 200 a day. kappa .0071 (correlation .95).

    Overall: w = .5, of it .7 in the shadow, half for restarts: alpha .05 x .175 = .00875, J = 9.1 + (ln(1/.00875) -
    ln 80) / (ln 200 - ln 80) x 1.9 = 9.8397. An AUC that falls by .03, margin .01: .0071 x 9.8397 / .02^2 = 174.65
    positives, .873 days, and 2 days until labels are mature. But after t days, 3 of them whole, the allowance is .01^2
    times (3 + (t - 3)^2) / t^2: with .0071 / (200 t) it comes to .02^2 / 9.8397 at t = 3.2072. Promotion: .0071 x 6.1 /
    .01^2 = 433.1, 2.166 days; the allowance lets it through only when the fifth day begins: 4 days, and the 2."""
    plan = plan_of(PlanParams(sla=sla_of(), per_day=10_000, base_rate=0.02), None)
    overall = guard(plan, "click / overall / auc")
    assert overall["alpha"] == pytest.approx(0.00875)
    assert overall["catch"]["size"] == pytest.approx(0.03)
    assert overall["catch"]["count"] == pytest.approx(174.65, abs=0.02)
    assert overall["catch"]["days"] == pytest.approx([2 + 3.2072, 2 + 7 * 174.65 / 200], abs=1e-3)
    assert overall["promote"]["count"] == pytest.approx(433.1)
    assert overall["promote"]["days"] == pytest.approx([6.0, 17.1585])
    assert plan["promotion"]["days"] == pytest.approx([7.0, 17.1585])  # a week at least
    assert plan["promotion"]["waits_for"] == "click / overall / auc"
    canary = guard(plan, "click / overall / auc", "canary")  # from day 1 on a tenth of the 200 a day
    assert canary["promote"] is None
    assert canary["catch"]["count"] == pytest.approx(0.120 * j_of(0.05 * 0.5 * 0.3 * 0.5) / 0.0004)
    assert canary["catch"]["days"][0] == pytest.approx(1 + canary["catch"]["count"] / 20 + 2)
    asked = plan_of(PlanParams(sla=sla_of(), per_day=10_000, base_rate=0.02, regression=0.06), None)
    assert guard(asked, "click / overall / auc")["catch"]["count"] == pytest.approx(30.0)
    below = plan_of(PlanParams(sla=sla_of(), per_day=10_000, base_rate=0.02, regression=0.01), None)
    assert guard(below, "click / overall / auc")["catch"]["days"] == [None, None]


@pytest.mark.parametrize(
    ("excess", "positives_a_day", "days"),
    [(0.10, 400, (0.07, 0.2)), (0.03, 300, (1.0, 2.0)), (0.01, 600, (3.9, 4.1)), (0.01, 60_000, (3.9, 4.1))],
)
def test_days_are_waited_for_as_in_the_simulations(
    excess: float, positives_a_day: float, days: tuple[float, float]
) -> None:
    """Paired, correlation .8: one guard alone at alpha .05; the table of what the allowance costs."""
    kappa, alone = kappa_of(0.8, 0.02), 0.05
    unseen = Unseen(kappa, day_sd("auc"), excess_limit(alone, excess))
    count = count_needed(kappa, alone, excess)
    need = Need.of(count, positives_a_day, Schedule((0.0,), (1.0,)), 0.0, unseen=unseen)
    assert days[0] <= need.days[0] <= days[1]
    without = Need.of(count, positives_a_day, Schedule((0.0,), (1.0,)), 0.0)
    assert without.days[0] <= need.days[0] <= max(without.days[0], 4.0)


def test_a_guard_that_can_never_be_decided_is_named_with_what_would_help() -> None:
    told = sla_of(
        rollout={"shadow_bp": 1_000, "steps": [{"canary_bp": 100, "hold_s": 0}], "max_duration_s": 30 * DAY_S}
    )
    plan = plan_of(PlanParams(sla=told, per_day=100, base_rate=0.02), None)
    assert plan["undecidable"] == ["click / overall / auc"]
    named = guard(plan, "click / overall / auc")
    assert named["decidable"] == "never"
    assert "433 positives at 2.0 a day" in named["why"]
    assert named["helps"] == [
        "margin 0.233 in place of 0.01",  # sqrt(7 x .0071 x 6.1 / (28 days x .1 x 2))
        "shadow_bp 10000: 10 times as many",
        "drop it: role display",
    ]
    enough = plan_of(PlanParams(sla=told, per_day=1_000_000, base_rate=0.02), None)
    assert enough["undecidable"] == []
    assert guard(enough, "click / overall / auc")["helps"] == []


def test_a_preflight_leaves_the_live_streams_its_rest_of_alpha() -> None:
    plain = plan_of(PlanParams(sla=sla_of(), per_day=1e4), None)
    told = sla_of(rollout={"preflight": {}})
    assert (plain["alpha"], plan_of(PlanParams(sla=told, per_day=1e4), None)["alpha"]) == (0.05, pytest.approx(0.04))


def test_a_schedule_is_walked_both_ways() -> None:
    steps = Schedule((0.0, 1.0, 3.0), (0.0, 0.01, 0.5))
    assert steps.until(0.02) == pytest.approx(3.0)
    assert steps.until(0.52) == pytest.approx(4.0)
    for whole in (0.005, 0.02, 1.0, 30.0):
        assert steps.seen(steps.until(whole)) == pytest.approx(whole)
    assert Schedule((0.0,), (0.0,)).until(1.0) == math.inf
    assert Need.of(10, 0.0, steps, 1.0).plain == {"count": 10, "days": [None, None]}


def test_failures_are_counted_by_their_divergence() -> None:
    # equal arms, rate ratio 3 against 1.5: shares .75 and .6; KL = .75 ln(.75/.6) + .25 ln(.25/.4) = .04986
    assert failures_needed(3.0, 1.5, 0.05) == pytest.approx((math.log(20) + math.log(7)) / 0.0498565, rel=1e-4)
    assert failures_needed(1.5, 1.5, 0.05) == math.inf


@given(
    st.sampled_from(["auc", "calibration", "log_loss", "loss", "bias", "top1", "early_auc", "early_ratio"]),
    st.floats(0.001, 0.9),
    st.floats(0.5, 0.999),
)
def test_paired_scores_never_need_more_to_be_promoted(metric: Any, rate: float, alike: float) -> None:
    nothing = (np.zeros(0), np.zeros(0))
    paired = spread_of(metric, 0.05, paired=alike, base_rate=rate, sample=nothing)
    apart = spread_of(metric, 0.05, paired=None, base_rate=rate, sample=nothing)
    assert 0 < paired.promote <= apart.promote * (1 + 1e-9)


def test_memory_is_bounded_and_says_which_cells_pay_for_it() -> None:
    tasks = {f"t{at}": {"label_window_s": 60, "absent": "negative"} for at in range(50)}
    many = Sla.model_validate({"model": "ads", "tasks": tasks, "slices": {"c": [f"v{at}" for at in range(20)]}})
    memory = plan_of(PlanParams(sla=many, per_day=1e6), None)["memory"]
    assert memory["bytes"] > LIMIT_BYTES >= memory["kept_bytes"]
    assert memory["fewer_bins"]
    assert any(name.startswith("t7 / c=v3 (canary, ") for name in memory["fewer_bins"])
    few = plan_of(PlanParams(sla=sla_of(), per_day=1e6), None)["memory"]
    assert few["bytes"] == few["kept_bytes"] > 0
    assert few["fewer_bins"] == []


@pytest.fixture
def log(tmp_path: Path, write_log: Callable[..., None]) -> Path:
    """Eight days, 500 requests a day, a fifth of them clicks, DE a fiftieth; the last four days shadowed as r0."""
    pick, rows = random.Random(9), []
    for number in range(8 * 500):
        event_ms = 900 * DAY_MS + number * DAY_MS // 500
        at, truth = uuid7(event_ms, number.to_bytes(10, "big")).bytes, pick.gauss(-1.6, 1)
        scored = [1 / (1 + math.exp(-truth - pick.gauss(0, 0.5))) for _ in range(2)]
        shadowed = number >= 4 * 500
        rest: dict[str, Any] = {"id": at, "index": 0, "entity": f"u{number % 97}", "epoch": 1, "latency_us": 5}
        rest["slices"] = {"country": "DE" if number % 50 == 0 else "BR"}
        arms = (("stable", 1), ("shadow", 2)) if shadowed else (("stable", 1),)
        for (arm, version), p in zip(arms, scored, strict=False):
            scores = [Score("click", p, version)]
            rows.append(PredictionRow(arm=arm, rollout="r0" * shadowed, scores=scores, **rest))
        if pick.random() < 1 / (1 + math.exp(-truth)):
            rows.append(LabelRow(at, 0, "click", 1.0, event_ms + 1))
    write_log(tmp_path, "ads", rows)
    return tmp_path


def test_logs_say_what_traffic_there_is(log: Path) -> None:
    params = {"sla": sla_of().model_dump(mode="json"), "watermark_ms": 908 * DAY_MS, "days": 7}
    params["rollouts"] = [{"id": "r0", "baseline": 1, "candidate": 2}]
    told: list[float] = []
    found = run(Job(id="p", kind="plan", model="ads", params=params), log, log, lambda done, _: told.append(done))
    json.dumps(found, allow_nan=False)
    task = found["tasks"]["click"]
    assert (found["from"], task["correlation_from"]) == ("logs", "logs")
    assert found["answers_per_day"] == pytest.approx(500, rel=0.01)
    assert task["labels_per_day"] == pytest.approx(500, rel=0.01)
    assert task["base_rate"] == pytest.approx(0.2, abs=0.05)
    assert task["correlation"] == pytest.approx(1 / (1 + 0.25), abs=0.03)
    assert 0.6 < task["auc"] < 0.85
    (small,) = found["small"]
    assert (small["slice"], small["positives"] + small["missing"]) == ("country=DE", 400)
    assert told[-1] == 1.0
    assert guard(found, "click / overall / auc")["measured"]


def test_without_traffic_it_asks_what_to_expect(tmp_path: Path) -> None:
    params = {"sla": sla_of().model_dump(mode="json"), "watermark_ms": 908 * DAY_MS}
    with pytest.raises(BadInput, match="nothing of ads is logged") as caught:
        run(Job(id="p", kind="plan", model="ads", params=params), tmp_path, tmp_path, lambda *_: None)
    assert "--per-day" in caught.value.advice
    told = run(
        Job(id="p", kind="plan", model="ads", params={**params, "per_day": 1000, "base_rates": {"click": 0.1}}),
        tmp_path,
        tmp_path,
        lambda *_: None,
    )
    assert (told["from"], told["tasks"]["click"]["base_rate"]) == ("options", pytest.approx(0.1))
    assert guard(told, "click / country=BR / auc")["decidable"] == "unknown"
    with pytest.raises(BadInput, match="per_day"):
        run(
            Job(id="p", kind="plan", model="ads", params={**params, "per_day": -1}), tmp_path, tmp_path, lambda *_: None
        )
