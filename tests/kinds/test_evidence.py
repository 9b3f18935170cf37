"""From answers to evidence: recorded, archived, read back, joined with labels, judged row by row and as a whole."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import log_loss

from monitors.follower import read_tick
from monitors.log import LogReader
from monitors.rows import Scored, Tick
from serinus.evidence import WorkItem
from serinus.ids import uuid7
from serinus.records import Arm, Kind, hour_of, log_folder
from serinus.sla import Sla
from serinus.training import Dataset
from serving.archiver import Archiver
from serving.ask import Output
from serving.event_times import EventTimes
from serving.labels import Job, LabelDesk, values_of
from serving.recorder import LogWriter
from serving.rows import frames
from tests.kinds.conftest import TASKS, applied_of, make

START = 480_000 * 3_600_000
HOUR_MS = 3_600_000
ROWS = 900
SLA = {
    "model": "m",
    "tasks": {
        "click": {"label_window_s": 600, "absent": "negative"},
        "amount": {"kind": "regression", "label_window_s": 600, "absent": "unlabelled"},
        "colour": {"kind": "multiclass", "label_window_s": 600, "absent": "unlabelled"},
    },
    "slices": {"country": ["BR", "DE"]},
    "tick_s": 3600,
    "freeze_scores": 200,
}


@dataclass(frozen=True)
class World:
    """Rows answered by version 1, and by version 2, which mixes up whose answer is whose; and labels. `said`: version
    -> task -> answers; `refused`: why labels were."""

    root: Path
    data: Dataset
    said: dict[int, dict[str, np.ndarray]]
    refused: list[str]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, package: Path) -> World:
    root, data, applied = tmp_path_factory.mktemp("log"), make(ROWS, seed=3), applied_of(package)
    good = applied.run(data.raw, applied.groups("stable", ()))
    bad = [Output(o.task, np.roll(o.values, 1, axis=0), 2, o.fallback) for o in good]
    times = START + np.arange(ROWS) * (HOUR_MS // ROWS)
    keys = [(uuid7(int(at), number.to_bytes(10, "big")).bytes, 0, f"u{number}") for number, at in enumerate(times)]
    slices = [{"country": str(country)} for country in data.raw["country"]]
    log = LogWriter(root, "predictions", "door")
    arms: tuple[tuple[Arm, list[Output]], ...] = (("stable", good), ("shadow", bad))
    for arm, outputs in arms:
        log.append(
            "m",
            hour_of(START),
            b"".join(frames(keys, outputs, slices, arm=arm, rollout="r", epoch=1, latency_us=9)),
        )
    log.close()
    labels = [
        {"id": str(uuid7(int(at), n.to_bytes(10, "big"))), "task": task, "value": float(y), "known_ms": int(at) + 1000}
        for task in TASKS
        for n, (at, y) in enumerate(zip(times, data.labels[task], strict=True))
        if not math.isnan(y)
    ]
    labels.append(labels[0] | {"task": "colour", "value": 3.0})
    desk = LabelDesk(root, "labels")
    job = Job("m", values_of(applied.manifests.values()), EventTimes(int(times[-1]) + HOUR_MS, may_replay=True))
    desk.write(job, 0, labels)
    desk.sync()
    desk.close()
    said = {1: {o.task: o.values for o in good}, 2: {o.task: o.values for o in bad}}
    return World(root, data, said, [each.why for each in job.refused])


def item(sla: dict[str, object] = SLA) -> WorkItem:
    checked = Sla.model_validate(sla)
    return WorkItem(rollout="r", model="m", sla=checked, baseline=1, candidate=2, alpha=0.05, started_event_ms=START)


def tick_of(world: World) -> Tick:
    reader = LogReader(world.root, "m", ("country",))
    return read_tick(item(), reader, START, START + 2 * HOUR_MS)


def sides(tick: Tick, task: str) -> tuple[Scored, Scored]:
    return tick.streams["shadow", task]


def test_a_label_that_is_no_class_is_refused_where_it_comes(world: World) -> None:
    assert world.refused == ["value is 3.0, expected the place of a class, 0 to 2"]


@pytest.mark.parametrize("archived", [False, True])
def test_rows_have_the_losses_of_numpy_and_scikit_learn(world: World, archived: bool) -> None:
    if archived:
        kinds: tuple[Kind, ...] = ("predictions", "labels")
        for kind in kinds:
            assert Archiver(log_folder(world.root, kind, "m", hour_of(START)), kind, 0.0).run(time.time() + 10_000)
    tick = tick_of(world)
    for version, side in ((1, 0), (2, 1)):
        said = world.said[version]
        click, amount, colour = (sides(tick, task)[side] for task in TASKS)
        np.testing.assert_array_equal(click.y, world.data.labels["click"])
        np.testing.assert_array_equal(click.p, said["click"].astype(np.float64))
        assert not len(click.loss)
        known = ~np.isnan(world.data.labels["amount"])
        y, p = world.data.labels["amount"][known].astype(np.float64), said["amount"][known].astype(np.float64)
        np.testing.assert_array_equal(amount.y, y)
        np.testing.assert_array_equal(amount.p, p)
        np.testing.assert_allclose(amount.loss, (y - p) ** 2, rtol=1e-12)
        known = ~np.isnan(world.data.labels["colour"])
        y, p = world.data.labels["colour"][known].astype(np.int64), said["colour"][known].astype(np.float64)
        np.testing.assert_array_equal(colour.y, p.argmax(1) == y)
        np.testing.assert_array_equal(colour.p, p[np.arange(len(y)), y])
        assert colour.loss.mean() == pytest.approx(log_loss(y, p / p.sum(1, keepdims=True), labels=[0, 1, 2]), rel=1e-5)
        assert len(colour.slices) == len(colour.loss) == known.sum()
    assert tick.counts["labels_used"] == sum(int((~np.isnan(y)).sum()) for y in world.data.labels.values())
