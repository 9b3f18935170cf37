"""Early labels, what only holds, what is only shown, other kinds of tasks: each against another way to compute it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.special import expit, logit
from sklearn.metrics import average_precision_score

from monitors.accumulators import Cell, Layout
from monitors.assess import Assessor
from monitors.bins import Bins
from monitors.days import DIFFERENCE_DAY_SD, LOSS_DAY_SD, RATIO_DAY_SD, unseen
from monitors.displayed import ece, js, pr_auc, psi
from monitors.metrics import agreement, bias, mean_loss, shift, top1
from monitors.rows import Exposed, Scored, Tick
from monitors.summands import Batch, columns_of
from monitors.windows import Windows
from serinus.evidence import CellEvidence, Evidence, InputEvidence, WorkItem
from serinus.sla import Sla

HOUR_MS, START = 3_600_000, 240 * 3_600_000
N = 3_000


def drawn(seed: int, *, numbers: bool = False) -> tuple[Scored, Scored]:
    rng = np.random.default_rng(seed)
    event_ms = np.sort(rng.integers(0, 50 * HOUR_MS, N))
    entity = rng.integers(0, 500, N).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    truth, none = rng.normal(size=N), np.zeros((N, 0), np.int64)
    sides = []
    for noise in (0.5, 0.9):
        said = truth + rng.normal(size=N) * noise
        y = 3 + truth * 2 if numbers else (rng.random(N) < expit(truth)).astype(float)
        p = 6 + said if numbers else expit(said)
        sides.append(Scored(event_ms, entity, y, p, none, (p - y) ** 2 if numbers else np.zeros(0)))
    if not numbers:
        sides[1] = replace(sides[1], y=sides[0].y)
    return sides[0], sides[1]


def windows_of(
    sides: tuple[Scored, Scored], *, spread: float = 0.0, unit: float = 1.0, same_bins: bool = False
) -> Windows:
    cell = Cell.empty(Layout(curve=True))
    batch = Batch.of(*sides, columns_of(*sides, unit=unit, spread=spread))
    cell.add_sums(batch)
    a = Bins.quantiles(sides[0].p) if spread else Bins.freeze(sides[0].p)
    b = a if same_bins else Bins.freeze(sides[1].p)
    cell.add_scores(batch.with_bins(np.concatenate([a.of(sides[0].p), b.of(sides[1].p)])))
    return Windows.of(cell)


def naive(groups: list[np.ndarray], value: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The largest delete-one-group variance, with everything computed again without each group."""
    largest = np.zeros(len(value(np.ones(N, bool))))
    for group in groups:
        keys = np.unique(group)
        without = np.array([value(group != key) for key in keys])
        scaled = (len(keys) - 1) / len(keys) * np.square(without - without.mean(axis=0)).sum(axis=0)
        largest = np.maximum(largest, scaled)
    return largest


METRICS: dict[str, tuple[Callable[..., Any], bool, Callable[..., np.ndarray]]] = {
    "shift": (shift, False, lambda a, b, w: np.array([np.log(b.p[w].mean() / a.p[w].mean())])),
    "agreement": (
        agreement,
        False,
        lambda a, b, w: np.array([np.sqrt(np.square(logit(b.p[w]) - logit(a.p[w])).mean())]),
    ),
    "top1": (top1, False, lambda a, b, w: np.array([a.y[w].mean() - b.y[w].mean()])),
    "loss": (
        lambda windows: mean_loss(windows, labelled=False),
        True,
        lambda a, b, w: np.array([b.loss[w].mean() / a.loss[w].mean() - 1]),
    ),
    "bias": (
        bias,
        True,
        lambda a, b, w: (
            np.array([(b.p - b.y)[w].mean() - (a.p - a.y)[w].mean(), (b.p - b.y)[w].mean() + (a.p - a.y)[w].mean()])
            / np.sqrt(a.loss[w].mean())
        ),
    ),
}


DAY_SDS = {"top1": DIFFERENCE_DAY_SD, "loss": LOSS_DAY_SD, "bias": RATIO_DAY_SD}
"""The others only hold."""


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_and_its_variance_are_a_naive_jackknife_s(name: str) -> None:
    reading_of, numbers, value = METRICS[name]
    a, b = drawn(4, numbers=numbers)
    if name == "top1":
        b = replace(b, y=np.where(np.random.default_rng(9).random(N) < 0.1, 1 - b.y, b.y))
    windows = windows_of((a, b), spread=2.0 if numbers else 0.0, unit=8.0 if numbers else 1.0)
    reading = reading_of(windows)
    assert reading.value[:, 0] == pytest.approx(value(a, b, np.ones(N, bool)), abs=1e-5)
    groups = [a.entity % np.uint64(64), *(a.event_ms // width for width in (HOUR_MS, 6 * HOUR_MS, 24 * HOUR_MS))]
    times = [group for group in groups[1:] if len(np.unique(group)) >= 5]
    days = unseen(windows, 1 if name == "top1" else 0, DAY_SDS.get(name, 0.0))
    found = reading.variance[:, 0] - days
    assert found == pytest.approx(naive([groups[0], *times], lambda w: value(a, b, w)), rel=0.1)
    assert reading.ready[0]


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32))
def test_average_precision_is_scikit_learn_s(seed: int) -> None:
    a, b = drawn(seed)
    found = pr_auc(windows_of((a, b)))
    assert [found.baseline, found.candidate] == pytest.approx(
        [average_precision_score(rows.y, rows.p) for rows in (a, b)], abs=0.01
    )


def test_distances_of_distributions_are_scipy_s() -> None:
    a, b = drawn(1)
    b = replace(b, p=np.clip(b.p * 0.8, 0, 1))
    windows, edges = windows_of((a, b), same_bins=True), Bins.freeze(a.p)
    counts = np.array([np.bincount(edges.of(rows.p) // 16, minlength=16) + 0.5 for rows in (a, b)])
    p, q = counts / counts.sum(axis=1, keepdims=True)
    assert js(windows).estimate == pytest.approx(jensenshannon(p, q, base=2) ** 2)
    assert psi(windows).estimate == pytest.approx(np.sum((q - p) * np.log(q / p)))
    assert psi(windows_of((a, a), same_bins=True)).estimate == 0


def test_the_calibration_error_is_that_of_its_bins() -> None:
    a, b = drawn(2)
    found = ece(windows_of((a, b)))
    for rows, value in ((a, found.baseline), (b, found.candidate)):
        place = Bins.freeze(rows.p).of(rows.p) // 16
        each = [abs(rows.p[place == k].sum() - rows.y[place == k].sum()) for k in range(16)]
        assert value == pytest.approx(sum(each) / N, abs=1e-6)


def run(sla: dict[str, Any], ticks: list[Tick], **how: Any) -> Evidence:
    item = WorkItem(
        rollout="r", model="m", sla=Sla.model_validate({"model": "m", "tick_s": 3600, "freeze_scores": 500, **sla}),
        baseline=1, candidate=2, alpha=0.05, started_event_ms=START, **how,
    )  # fmt: skip
    replay = any(stream == "replay" for stream, _ in ticks[0].streams)
    assessor = Assessor(item, replay=replay)
    return [assessor.consume(tick) for tick in ticks][-1]


def cell_of(evidence: Evidence, metric: str, stream: str = "shadow") -> CellEvidence:
    return next(cell for cell in evidence.cells if cell.metric == metric and cell.stream == stream)


def binary(metrics: dict[str, tuple[float, str]], **task: Any) -> dict[str, Any]:
    guards = [{"task": "t", "metric": name, "margin": margin, "role": role} for name, (margin, role) in metrics.items()]
    return {"tasks": {"t": {"label_window_s": 600, "absent": "negative", **task}}, "guards": guards}


def hours(
    count: int, change: Callable[[Scored], Scored], *, field: str = "streams", stream: str = "shadow"
) -> list[Tick]:
    """As many looks, with rows whose candidate is changed."""
    found = []
    for at in range(1, count + 1):
        a, b = drawn(at)
        event_ms = START + (at - 1) * HOUR_MS + a.event_ms // 50
        a, b = (replace(rows, event_ms=event_ms).take(np.arange(200)) for rows in (a, b))
        sides = {(stream, "t"): (a, change(b))}
        found.append(Tick(START + at * HOUR_MS, **{"streams": {}, field: sides}))
    return found


def blind(rows: Scored) -> Scored:
    return replace(rows, y=np.full(len(rows), np.nan))


def test_a_shifted_or_shuffled_head_holds_without_a_label_and_never_rolls_back() -> None:
    metrics = {"auc": (0.05, "required"), "shift": (0.25, "hold"), "agreement": (2.0, "hold"), "psi": (0.2, "hold")}
    same = run(binary(metrics), hours(30, blind, field="unlabelled"))
    assert same.holds == ()
    assert cell_of(same, "shift").verdict == cell_of(same, "agreement").verdict == "satisfied"
    wrong = run(binary(metrics), hours(30, lambda rows: blind(replace(rows, p=rows.p * 0.5)), field="unlabelled"))
    assert (wrong.e, wrong.verdict, wrong.culprits) == (0, "inconclusive", ())
    assert cell_of(wrong, "shift").verdict == "violated"
    assert any("t / overall / shift" in each for each in wrong.holds)
    assert any("t / overall / psi" in each for each in wrong.holds)
    rng = np.random.default_rng(0)
    mixed = run(
        binary(metrics), hours(30, lambda r: blind(replace(r, p=rng.permutation(r.p) ** 3)), field="unlabelled")
    )
    assert cell_of(mixed, "agreement").verdict == "violated"
    assert all(cell.weight == 0 for cell in mixed.cells if cell.role == "hold")


def test_early_labels_roll_back_before_any_is_mature_and_promote_nothing() -> None:
    metrics = {"auc": (0.05, "required"), "early_auc": (0.03, "optional"), "early_ratio": (0.1, "optional")}
    sla = binary(metrics, early_window_s=60)
    good = run(sla, hours(60, lambda rows: rows, field="early"))
    assert cell_of(good, "early_ratio").horizon == "early"
    assert good.verdict == "inconclusive"
    bad = run(sla, hours(60, lambda rows: replace(rows, p=1 - rows.p), field="early"))
    assert bad.verdict == "violated"
    assert "t / overall / early_auc" in bad.culprits
    scaled = run(sla, hours(60, lambda rows: replace(rows, p=rows.p * 0.6), field="early"))
    assert "t / overall / early_ratio" in scaled.culprits


def test_where_labels_depend_on_what_was_shown_the_canary_decides_and_the_shadow_holds() -> None:
    def worse(rows: Scored) -> Scored:
        return replace(rows, p=1 - rows.p)

    depends = binary({"auc": (0.05, "required")}, label_depends_on_action=True)
    shadow = run(depends, hours(40, worse))
    assert (shadow.verdict, shadow.e) == ("inconclusive", 0)
    assert cell_of(shadow, "auc").role == "hold"
    assert any("t / overall / auc" in each for each in shadow.holds)
    assert cell_of(shadow, "auc", "canary").weight == pytest.approx(1)
    assert run(depends, hours(40, worse, stream="canary")).verdict == "violated"
    assert run(binary({"auc": (0.05, "required")}), hours(40, worse)).verdict == "violated"


def test_a_stream_that_is_alone_stands_alone() -> None:
    sla = binary({"auc": (0.05, "required"), "failures": (0.5, "optional")})
    replay = run(sla, hours(40, lambda rows: rows, stream="replay"))
    assert {(cell.stream, cell.metric) for cell in replay.cells} == {("replay", "auc")}
    assert sum(cell.weight for cell in replay.cells) == pytest.approx(1)
    canary = run(sla, hours(3, lambda rows: rows, stream="canary"), shadow=False)
    assert {cell.stream for cell in canary.cells} == {"canary"}
    assert sum(cell.weight for cell in canary.cells) == pytest.approx(1)


def test_slow_answers_are_a_rate_of_their_own_and_inputs_are_handed_on() -> None:
    sla = {
        **binary({"auc": (0.05, "required"), "failures": (0.5, "optional"), "latency": (0.5, "optional")}),
        "latency_ms": 5,
    }
    rng, ticks = np.random.default_rng(0), []
    stale = InputEvidence(input="wind", check="stale", rows=9, value=7.0, limit=3.0, holds=True, why="7 h old")
    for at in range(1, 20):
        entity, canary = rng.integers(0, 10**9, 400).astype(np.uint64), np.arange(400) % 2 == 0
        slow, none = rng.random(400) < np.where(canary, 0.2, 0.02), np.zeros(400, bool)
        exposed = Exposed(entity, np.full(400, at), canary, none, np.zeros((400, 0), int), slow)
        ticks.append(Tick(START + at * HOUR_MS, {}, {"t": exposed}, inputs=(stale,), holds=("labels are silent",)))
    evidence = run(sla, ticks)
    assert evidence.culprits == ("t / overall / latency",)
    assert cell_of(evidence, "failures", "canary").verdict == "satisfied"
    assert evidence.inputs == (stale,)
    assert evidence.holds == ("input wind, stale: 7 h old", "labels are silent")


@pytest.mark.parametrize(("off", "culprit"), [(1.5, "t / overall / bias"), (0.0, None)])
def test_a_regression_is_judged_by_its_loss_and_bias(off: float, culprit: str | None) -> None:
    guards = [{"task": "t", "metric": "bias", "margin": 0.2}, {"task": "t", "metric": "loss", "margin": 2.0}]
    sla = {"tasks": {"t": {"kind": "regression", "label_window_s": 600, "absent": "unlabelled"}}, "guards": guards}
    ticks = []
    for tick in hours(130, lambda rows: rows):
        (a, b), rng = tick.streams["shadow", "t"], np.random.default_rng(tick.tick_ms // HOUR_MS)
        y = rng.normal(5_000, 900, len(a))
        a, b = (replace(r, y=y, p=y + rng.normal(add, 800, len(a))) for r, add in ((a, 0), (b, off * 800)))
        a, b = (replace(rows, loss=(rows.p - rows.y) ** 2) for rows in (a, b))
        ticks.append(Tick(tick.tick_ms, {("shadow", "t"): (a, b)}))
    waiting, evidence = run(sla, ticks[:1]), run(sla, ticks)
    assert (waiting.cells[0].why, waiting.cells[0].needs) == ("200 of 500 scores to freeze the bins", 300)
    assert (culprit in evidence.culprits) if culprit else evidence.verdict == "satisfied"
    assert cell_of(evidence, "bias").candidate_value == pytest.approx(off, abs=0.1)


@pytest.mark.parametrize("kind", ["constant", "saturated", "shifted"])
def test_odd_scores_give_finite_evidence(kind: str) -> None:
    odd = {
        "constant": lambda r: replace(r, p=np.full(len(r), 0.3)),
        "saturated": lambda r: replace(r, p=np.round(r.p)),
        "shifted": lambda r: replace(r, p=np.clip(r.p + 0.4, 0, 1)),
    }[kind]
    metrics = dict.fromkeys(("auc", "calibration", "log_loss"), (0.1, "required"))
    shown = dict.fromkeys(("ece", "pr_auc", "psi", "js"), (0.1, "display"))
    evidence = run(binary({**metrics, **shown}), hours(30, odd))
    assert all(np.isfinite(cell.e_violated) for cell in evidence.cells)
    assert cell_of(evidence, "ece").estimate is not None
    assert evidence.e >= 0
