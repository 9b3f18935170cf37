"""What the tests of the monitors share: an SLA, rows drawn from clustered users, logs written as the serving does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from monitors.rows import Scored, Tick
from serinus.evidence import Evidence, WorkItem
from serinus.ids import event_ms_of
from serinus.records import MAGIC, LabelRow, PredictionRow, encode_row, hour_of, log_folder
from serinus.sla import Sla

DAY_MS = 86_400_000
HOUR_MS = 3_600_000


@pytest.fixture
def sla() -> Sla:
    """Two tasks, three countries, looks every hour; a click that never came is a 0."""
    return Sla.model_validate(
        {
            "model": "ads",
            "tasks": {
                "click": {"label_window_s": 1800, "absent": "negative"},
                "buy": {"label_window_s": 7200, "absent": "unlabelled", "given": "click"},
            },
            "slices": {"country": ["BR", "DE", "XX"]},
            "tick_s": 3600,
            "freeze_scores": 500,
        }
    )


@pytest.fixture
def item(sla: Sla) -> WorkItem:
    return WorkItem(
        rollout="r1", model="ads", sla=sla, baseline=1, candidate=2, alpha=0.05, started_event_ms=10 * DAY_MS
    )


@pytest.fixture
def draw() -> Callable[..., Tick]:
    """Draw one tick: `n` rows of 300 users whose taste lasts; a day's shock moves everybody's outcome.

    `worse`: extra noise of the candidate; `scale`: factor on its probabilities; `twin`: the candidate is the baseline
    but for noise of the same size; `same`: the very same scores."""

    def drawn(
        rng: np.random.Generator,
        tick_ms: int,
        tasks: Iterable[str],
        *,
        n: int = 100,
        step_ms: int = HOUR_MS,
        noise: float = 0.4,
        worse: float = 0.0,
        scale: float = 1.0,
        same: bool = False,
        shock: float = 0.0,
        taste: float = 0.7,
        stream: str = "shadow",
        slices: int = 3,
    ) -> Tick:
        streams = {}
        for task in tasks:

            def rows() -> tuple[Scored, np.ndarray]:
                user = rng.integers(0, 300, n)
                lasting = np.random.default_rng(7).normal(size=300)[user] * taste
                truth = lasting + rng.normal(size=n) - 1 + shock
                y = (rng.random(n) < expit(truth)).astype(float)
                event_ms = np.sort(rng.integers(tick_ms - step_ms, tick_ms, n))
                entity = user.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
                where = (user % slices)[:, None].astype(np.int64)
                return Scored(event_ms, entity, y, np.zeros(n), where), truth

            def scored(base: Scored, truth: np.ndarray, more: float, factor: float) -> Scored:
                p = np.clip(expit(truth + rng.normal(size=n) * (noise + more)) * factor, 0, 1)
                return Scored(base.event_ms, base.entity, base.y, p, base.slices)

            a_rows, a_truth = rows()
            b_rows, b_truth = (a_rows, a_truth) if stream == "shadow" else rows()
            a = scored(a_rows, a_truth, 0.0, 1.0)
            b = a if same else scored(b_rows, b_truth, worse, scale)
            streams[stream, task] = (a, b)
        return Tick(tick_ms, streams, {}, {}, tick_ms - step_ms)

    return drawn


@pytest.fixture
def cell() -> Callable[..., object]:
    """The evidence of one cell, by its name and stream."""

    def found(evidence: Evidence, name: str, stream: str = "shadow") -> object:
        return next(each for each in evidence.cells if each.name == name and each.stream == stream)

    return found


@pytest.fixture
def write_log() -> Callable[..., None]:
    """Append rows to the logs of a model, as a writer of the serving does."""

    def written(root: Path, model: str, rows: Iterable[PredictionRow | LabelRow], writer: str = "w0") -> None:
        for row in rows:
            kind = "labels" if isinstance(row, LabelRow) else "predictions"
            path = log_folder(root, kind, model, hour_of(event_ms_of(row.id))) / f"{writer}.log"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                if not file.tell():
                    file.write(MAGIC)
                file.write(encode_row(row))

    return written
