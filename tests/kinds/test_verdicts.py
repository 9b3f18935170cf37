"""Verdicts on regression and multiclass tasks: the same model twice is never violated, a worse one is named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from monitors.assess import Assessor
from monitors.losses import NONE, judged
from monitors.rows import Scored, Tick
from serinus.evidence import Evidence, Stream, WorkItem
from serinus.sla import Sla

HOUR_MS, START = 3_600_000, 480_000 * 3_600_000
SHADOW: Stream = "shadow"
LABELLED = {"label_window_s": 600, "absent": "unlabelled"}
SLA = Sla.model_validate(
    {
        "model": "m",
        "tasks": {"amount": {"kind": "regression", **LABELLED}, "colour": {"kind": "multiclass", **LABELLED}},
        "slices": {"country": ["BR", "DE"]},
        "tick_s": 3600,
        "freeze_scores": 200,
    }
)
Change = Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]
"""(random, truth, the baseline's answers) -> the candidate's."""


def amount(random: np.random.Generator, rows: int, shock: float) -> tuple[np.ndarray, np.ndarray]:
    """(Truth, answers off by 20 and by what all rows of the hour share)."""
    truth = random.normal(1_000, 100, rows)
    return truth, truth + random.normal(0, 20, rows) + 5 * shock


def colour(random: np.random.Generator, rows: int, shock: float) -> tuple[np.ndarray, np.ndarray]:
    """(Classes, probabilities from which they are drawn, but for what all rows of the hour share)."""
    logits = random.normal(0, 1.5, (rows, 3))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = (random.random((rows, 1)) > shares.cumsum(1)[:, :2]).sum(1)
    moved = shares ** (1 + 0.1 * shock)
    return truth.astype(np.float64), (moved / moved.sum(1, keepdims=True)).astype(np.float32)


def same(random: np.random.Generator, truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
    return answers


def twin(random: np.random.Generator, truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """As good, but not the same: each answer a little off."""
    if answers.ndim == 1:
        return truth + 0.9 * (answers - truth) + random.normal(0, 20 * np.sqrt(1 - 0.81), len(truth))
    moved = answers * np.exp(random.normal(0, 0.05, answers.shape))
    return np.asarray((moved / moved.sum(1, keepdims=True)).astype(np.float32))


def evidence_of(
    change: Change, ticks: int, seed: int = 0, rows: int = 150, stream: Stream = "shadow"
) -> list[Evidence]:
    item = WorkItem(rollout="r", model="m", sla=SLA, baseline=1, candidate=2, alpha=0.05, started_event_ms=START)
    random, assessor = np.random.default_rng(seed), Assessor(item)
    found = []
    for at in range(1, ticks + 1):
        shock, streams = random.normal(), {}
        event = np.sort(random.integers(START + (at - 1) * HOUR_MS, START + at * HOUR_MS, rows))
        entity = random.integers(0, 2**63, rows).astype(np.uint64)
        slices = random.integers(-1, 2, (rows, 1))
        for task, draw in (("amount", amount), ("colour", colour)):
            truth, answers = draw(random, rows, shock)
            sides = []
            for said in (answers, change(random, truth, answers)):
                kind = SLA.tasks[task].kind
                value, shares = (said, NONE) if said.ndim == 1 else (said.max(1).astype(np.float64), said)
                y, p, loss = judged(kind, truth, value, shares)
                sides.append(Scored(event, entity, y, p, slices, loss))
            streams[stream, task] = (sides[0], sides[1])
        found.append(assessor.consume(Tick(START + at * HOUR_MS, streams)))
    return found


def test_the_same_model_twice_is_never_violated_and_in_the_end_satisfied() -> None:
    found = evidence_of(same, 40)
    assert max(evidence.e for evidence in found) == 0
    assert (found[0].verdict, found[-1].verdict) == ("inconclusive", "satisfied")
    cells = {cell.name: cell for cell in found[-1].cells if cell.stream == "shadow"}
    for name in ("amount / overall / loss", "amount / overall / bias", "colour / overall / top1"):
        assert (cells[name].estimate, cells[name].verdict) == (pytest.approx(0, abs=1e-9), "satisfied")


@pytest.mark.parametrize("seed", range(6))
def test_a_twin_is_not_rolled_back(seed: int) -> None:
    assert all(evidence.verdict != "violated" for evidence in evidence_of(twin, 40, seed))


def noisier(random: np.random.Generator, truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
    return answers + random.normal(0, 12, len(truth)) if answers.ndim == 1 else answers


def too_high(random: np.random.Generator, truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """The mean error grows by 10, half the root mean square error; the loss by a quarter."""
    return answers + 10 if answers.ndim == 1 else answers


def mixed_up(random: np.random.Generator, truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """A tenth of the rows have the answer of another class."""
    if answers.ndim == 1:
        return answers
    return np.where(random.random((len(truth), 1)) < 0.1, np.roll(answers, 1, axis=1), answers)


def too_sure(random: np.random.Generator, truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """The likeliest class stays the likeliest: only the log-loss can tell."""
    if answers.ndim == 1:
        return answers
    sharp = answers.astype(np.float64) ** 2.5
    return np.asarray((sharp / sharp.sum(1, keepdims=True)).astype(np.float32))


@pytest.mark.parametrize(
    ("change", "culprit"),
    [
        (noisier, "amount / overall / loss"),
        (too_high, "amount / overall / bias"),
        (mixed_up, "colour / overall / top1"),
        (too_sure, "colour / overall / log_loss"),
    ],
)
def test_a_worse_candidate_is_found_and_named(change: Change, culprit: str) -> None:
    last = evidence_of(change, 120)[-1]
    assert last.verdict == "violated"
    assert culprit in last.culprits
    task = culprit.split(" ", maxsplit=1)[0]
    assert all(name.startswith(task) for name in last.culprits)


def test_the_estimates_are_those_of_numpy() -> None:
    """Loss, bias and top-1 over all rows, whatever the ticks."""
    kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def keep(random: np.random.Generator, truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
        candidate = noisier(random, truth, mixed_up(random, truth, answers))
        kept.append((truth, answers, candidate))
        return candidate

    cells = {cell.name: cell for cell in evidence_of(keep, 10)[-1].cells if cell.stream == "shadow"}
    numbers, classes = (
        [np.concatenate(parts) for parts in zip(*(each for each in kept if each[1].ndim == dims), strict=True)]
        for dims in (1, 2)
    )
    y, a, b = numbers
    loss_a, loss_b = ((a - y) ** 2).mean(), ((b - y) ** 2).mean()
    assert cells["amount / overall / loss"].estimate == pytest.approx(loss_b / loss_a - 1, rel=1e-5)
    wrong = [(shares.argmax(1) != classes[0]).mean() for shares in classes[1:]]
    assert cells["colour / overall / top1"].estimate == pytest.approx(wrong[1] - wrong[0], abs=1e-9)
    place = classes[0].astype(np.int64)
    log_losses = [-np.log(shares[np.arange(len(place)), place].astype(np.float64)).mean() for shares in classes[1:]]
    assert cells["colour / overall / log_loss"].estimate == pytest.approx(log_losses[1] / log_losses[0] - 1, rel=1e-4)
