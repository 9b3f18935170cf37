"""An INT8 version on the real stack: pushed, inspected, loaded, and judged beside its FP32 parent by a rollout."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serinus.client import Client
from serinus.records import PredictionRow
from serinus.rollouts import Plan
from serinus.sla import Sla
from serinus.training.quantize import quantize
from tests.pool.stack import read_log
from tests.pool.wide import TASKS, rows, write_wide

SLA = Sla.model_validate({"model": "wide", "tasks": {t: {"label_window_s": 60, "absent": "negative"} for t in TASKS}})


def until(condition: Callable[[], Any], within_s: float = 60) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(0.05)
    return found


@pytest.mark.e2e
def test_a_rollout_shadows_the_int8_version_of_the_stable_one(up: Any, tmp_path: Path) -> None:
    running = up("--front-doors", "1")
    client: Client = running.client
    wide = write_wide(tmp_path / "wide")
    quantize(wide, tmp_path / "int8", "int8", rows={"x": rows(500)})
    client.apply(SLA)
    first = client.push("wide", wide).version
    client.promote("wide", first, initial=True)
    second = client.push("wide", tmp_path / "int8").version
    assert (first, second) == (1, 2)
    rollout = client.rollout_start("wide", second, Plan(shadow_hold_s=3600))
    until(lambda: client.rollout(rollout.id).phase == "shadow", 120)
    x = rows(3, seed=9).tolist()

    def shadowed() -> list[PredictionRow]:
        answer = client.infer("wide", {"x": x}, entity="ann")
        assert set(answer.versions.values()) == {first}
        log = read_log(running.home.path / "log", "predictions", PredictionRow)
        return [row for row in log if row.arm == "shadow"]

    found = until(shadowed)
    assert {score.version for row in found for score in row.scores} == {second}
    assert {score.fallback for row in found for score in row.scores} == {""}
