"""How many positives until one cell is rolled back, where nothing but chance moves: rows drawn one by one, 2 %
positives, an AUC of .80 against one that is worse by the margin and `excess` more. The cell is alone and has all of
alpha."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from benchmarks.report import Table
from benchmarks.simulations.crowd import HOUR_MS, START_MS, Drawn, ticks
from benchmarks.simulations.trial import FIRST_SEED, Outcome, Trial, item_of, roll
from monitors.rows import Tick
from serinus.evidence import Stream
from serinus.sla import Sla

__all__ = ["CASES", "run", "tables", "trials"]

BASE_RATE, AUC, MARGIN, CORRELATION = 0.02, 0.80, 0.01, 0.95
CHUNK_H = 24


@dataclass(frozen=True)
class Size:
    """`page`, `page_p90`: positives that the design expects, median and p90; `rate`: rows an hour; `hours`: at most."""

    excess: float
    paired: bool
    page: int
    page_p90: int | None
    rate: int
    hours: int


CASES = {
    "paired, .01 more": Size(0.01, True, 560, 1_320, 1_200, 240),
    "paired, .03 more": Size(0.03, True, 70, 140, 600, 96),
    "paired, .10 more": Size(0.10, True, 50, None, 600, 96),
    "unpaired, .01 more": Size(0.01, False, 8_175, None, 12_000, 240),
    "unpaired, .03 more": Size(0.03, False, 850, None, 2_400, 120),
    "unpaired, .10 more": Size(0.10, False, 140, None, 600, 120),
}


def trials(*, quick: bool) -> list[Trial]:
    count, cases = (5, list(CASES)[1:3]) if quick else (60, list(CASES))
    return [
        Trial(suite="power", case=case, seed=seed) for case in cases for seed in range(FIRST_SEED, FIRST_SEED + count)
    ]


def run(trial: Trial) -> Outcome:
    size = CASES[trial.case]
    task = {"label_window_s": 0, "absent": "negative"}
    guards = [{"task": "click", "metric": "auc", "margin": MARGIN}]
    sla = Sla.model_validate(
        {"model": "ads", "tasks": {"click": task}, "tick_s": 600, "freeze_scores": 500, "guards": guards}
    )
    return roll(trial, item_of(sla, START_MS), _ticks(size, trial.seed, sla), replay=True)


def _ticks(size: Size, seed: int, sla: Sla) -> Iterator[Tick]:
    """Day by day, so that what is not needed is not drawn."""
    for day in range(size.hours // CHUNK_H):
        parts = [_drawn(size, np.random.default_rng((seed, day, arm)), day) for arm in range(1 if size.paired else 2)]
        first, second = parts[0], parts[-1]
        for one, other in zip(ticks(first, sla, ("replay",)), ticks(second, sla, ("replay",)), strict=False):
            if one.tick_ms > START_MS + day * CHUNK_H * HOUR_MS:
                key: tuple[Stream, str] = ("replay", "click")
                yield Tick(one.tick_ms, {key: (one.streams[key][0], other.streams[key][1])}, {}, {}, START_MS)


def _drawn(size: Size, rng: np.random.Generator, day: int) -> Drawn:
    n = size.rate * CHUNK_H
    event_ms = START_MS + day * CHUNK_H * HOUR_MS + np.sort(rng.integers(0, CHUNK_H * HOUR_MS, n))
    event_ms[0], event_ms[-1] = START_MS + day * CHUNK_H * HOUR_MS, START_MS + (day + 1) * CHUNK_H * HOUR_MS - 1
    y = (rng.random(n) < BASE_RATE).astype(np.float64)
    common, own_a, own_b = rng.normal(size=(3, n))
    alike, apart = sqrt(CORRELATION), sqrt(1 - CORRELATION)
    lost = MARGIN + size.excess
    a, b = (
        expit(alike * common + apart * own + y * sqrt(2) * norm.ppf(auc) - 4)
        for own, auc in ((own_a, AUC), (own_b, AUC - lost))
    )
    none, no = np.zeros((n, 0), np.int64), np.zeros(n, np.bool_)
    return Drawn(event_ms, rng.integers(0, 2**63, n, np.uint64), y[None], a[None], b[None], none, no, no)


def tables(outcomes: Sequence[Outcome]) -> list[Table]:
    table = Table(
        "Positives until one cell of its own is rolled back (2 % positives, score correlation .95, alpha .05)",
        ["case", "rolled back", "of", "median", "p90", "expected median", "expected p90", "ratio"],
    )
    for case, size in CASES.items():
        found = [each for each in outcomes if each.trial.case == case]
        fired = [each.positives if each.word == "rolled back" else np.inf for each in found]
        if not fired:
            continue
        median, p90 = (float(value) for value in np.quantile(fired, [0.5, 0.9], method="inverted_cdf"))
        count = sum(np.isfinite(fired))
        table.rows.append(
            [case, int(count), len(fired), median, p90, size.page, size.page_p90, round(median / size.page, 2)]
        )
    return [table]
