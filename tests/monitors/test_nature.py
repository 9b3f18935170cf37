"""What an SLA says of the nature of labels, each with the wrong verdict that comes without it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from monitors.assess import Assessor
from monitors.log import LogReader
from monitors.ticks import read_tick
from serinus.evidence import Evidence, WorkItem
from serinus.ids import uuid7
from serinus.records import LabelRow, PredictionRow, Score
from serinus.sla import Sla

HOUR_MS = 3_600_000
T0, HOURS = 240 * HOUR_MS, 48
Rows = list[PredictionRow | LabelRow]


def judged(folder: Path, tasks: dict[str, Any], metric: str) -> Evidence:
    task = list(tasks)[-1]
    guards = [{"task": task, "metric": metric, "margin": 0.02 if metric == "auc" else 0.1}]
    plain = {"label_window_s": 1800, "absent": "negative"}
    words = {"model": "ads", "tasks": {name: {**plain, **more} for name, more in tasks.items()}, "guards": guards}
    sla = Sla.model_validate({**words, "tick_s": 3600, "freeze_scores": 500})
    item = WorkItem(rollout="r1", model="ads", sla=sla, baseline=1, candidate=2, alpha=0.05, started_event_ms=T0)
    assessor, reader = Assessor(item), LogReader(folder, "ads", ())
    for at in range(HOURS + 1):
        found = assessor.consume(read_tick(item, reader, T0 + at * HOUR_MS, T0 + (at + 1) * HOUR_MS))
    return found


def answer(number: int, arm: str, version: int, p: dict[str, float]) -> PredictionRow:
    return PredictionRow(
        id=key(number),
        index=0,
        arm=arm,
        entity=f"u{number % 997}",
        rollout="r1",
        epoch=1,
        scores=[Score(task, value, version) for task, value in p.items()],
        slices={},
        latency_us=5,
    )


def key(number: int) -> bytes:
    return uuid7(T0 + number * 40_000, number.to_bytes(10, "big")).bytes


def label(number: int, task: str, value: float) -> LabelRow:
    return LabelRow(key(number), 0, task, value, T0 + number * 40_000 + 60_000)


def rows_of(one: Callable[[int, np.random.Generator], Rows]) -> Rows:
    rng = np.random.default_rng(11)
    return [row for number in range(HOURS * 90) for row in one(number, rng)]


def test_a_rating_that_nobody_gave_is_no_bad_rating(tmp_path: Path, write_log: Callable[..., None]) -> None:
    """One user in three rates. The candidate says the truth of those who do, stable half of it."""

    def one(number: int, rng: np.random.Generator) -> Rows:
        truth = float(expit(rng.normal() + 0.5))
        pair = [answer(number, "stable", 1, {"rate": truth / 2}), answer(number, "shadow", 2, {"rate": truth})]
        return [*pair, *([label(number, "rate", float(rng.random() < truth))] if rng.random() < 0.33 else [])]

    write_log(tmp_path, "ads", rows_of(one))
    assert judged(tmp_path, {"rate": {"absent": "negative"}}, "calibration").verdict == "violated"
    assert judged(tmp_path, {"rate": {"absent": "unlabelled"}}, "calibration").verdict == "satisfied"


def test_who_did_not_click_did_not_decline_to_buy(tmp_path: Path, write_log: Callable[..., None]) -> None:
    """Scores of `buy` are for those who click. The candidate says the truth, stable half of it."""

    def one(number: int, rng: np.random.Generator) -> Rows:
        truth = float(expit(rng.normal() + 0.5))
        pair = [
            answer(number, arm, version, {"click": 0.3, "buy": truth * scale})
            for arm, version, scale in (("stable", 1, 0.5), ("shadow", 2, 1.0))
        ]
        clicked = rng.random() < 0.3
        bought = clicked and rng.random() < truth
        return [*pair, *([label(number, "click", 1)] * clicked), *([label(number, "buy", 1)] * bought)]

    write_log(tmp_path, "ads", rows_of(one))
    assert judged(tmp_path, {"click": {}, "buy": {}}, "calibration").verdict == "violated"
    assert judged(tmp_path, {"click": {}, "buy": {"given": "click"}}, "calibration").verdict == "satisfied"


def test_what_stable_never_showed_is_no_proof_against_the_candidate(
    tmp_path: Path, write_log: Callable[..., None]
) -> None:
    """An item is clicked only where it was shown, and it is shown where the model that answers likes it. The candidate
    knows better what is liked; by what stable showed it looks worse, by what each of them showed it does not."""

    def one(number: int, rng: np.random.Generator) -> Rows:
        like = rng.normal()
        old, new = (float(expit(like + noise * rng.normal())) for noise in (2.0, 0.5))
        liked = bool(rng.random() < expit(like + 0.5))
        arm = ("canary", "control", "stable", "stable", "stable")[number % 5]
        shown = new if arm == "canary" else old
        rows: Rows = [answer(number, arm, *((2, {"tap": new}) if arm == "canary" else (1, {"tap": old})))]
        rows.append(answer(number, "shadow", *((1, {"tap": old}) if arm == "canary" else (2, {"tap": new}))))
        return [*rows, *([label(number, "tap", 1)] * (liked and shown > 0.5))]

    write_log(tmp_path, "ads", rows_of(one))
    naive = judged(tmp_path, {"tap": {}}, "auc")
    wise = judged(tmp_path, {"tap": {"label_depends_on_action": True}}, "auc")
    assert naive.verdict == "violated"
    assert wise.verdict != "violated"
    assert any(hold.startswith("shadow: tap / overall / auc") for hold in wise.holds)
    canary = next(cell for cell in wise.cells if cell.stream == "canary" and cell.metric == "auc")
    assert canary.estimate is not None
    assert canary.estimate < 0  # the candidate is better
