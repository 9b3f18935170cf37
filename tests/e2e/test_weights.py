"""New ranking weights on the real stack: every replica ranks by them within a second."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serinus.client import Client, Ranking
from serinus.package import MANIFEST, write_manifest
from serinus.sla import Sla
from tests.pool.packages import expected, write_package

SLA = Sla.model_validate(
    {"model": "flights", "tasks": {t: {"label_window_s": 60, "absent": "negative"} for t in ("late", "cancelled")}}
)
ORIGINS, DELAYS = ["EWR", "JFK", "LGA", "JFK"], [3.0, -2.0, 1.0, 7.5]
PROMISED_S = 1.0


def registrable(folder: Path) -> Path:
    """A small package with the baseline that a registry asks for."""
    write_package(folder, seed=1)
    (folder / "baseline.json").write_text(json.dumps({"tasks": {"late": {}, "cancelled": {}}}))
    write_manifest(folder, json.loads((folder / MANIFEST).read_text()))
    return folder


def until(condition: Callable[[], Any], within_s: float) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(0.01)
    return found


def ranked(client: Client) -> Ranking:
    return client.rank("flights", {"hour": 7.0}, {"origin": ORIGINS, "delay": DELAYS}, items=list("abcd"))


def fronts(client: Client) -> list[int]:
    """The epoch of each front door that lives."""
    found = [each for each in client.status()["replicas"] if each["role"] == "front" and each["live"]]
    return [each["applied"].get("flights", 0) for each in found]


@pytest.mark.e2e
def test_every_front_door_ranks_by_new_weights_within_a_second(up: Any, tmp_path: Path) -> None:
    client: Client = up("--front-doors", "2").client
    client.apply(SLA)
    client.promote("flights", client.push("flights", registrable(tmp_path / "package")).version, initial=True)
    until(lambda: fronts(client) == [1, 1], 60)
    late, cancelled = (
        np.array([expected(1, task, o, d, 7.0) for o, d in zip(ORIGINS, DELAYS, strict=True)])
        for task in ("late", "cancelled")
    )
    assert [each.index for each in ranked(client).candidates] == np.argsort(-late * cancelled).tolist()
    took = []
    for exponent in (-2.0, 0.5, -1.0, 3.0, 1.0):
        epoch, began = ranked(client).epoch + 1, time.monotonic()
        client.weights("flights", {"late": 1.0, "cancelled": exponent}, "the test")
        until(lambda: fronts(client) == [epoch, epoch], 20)  # noqa: B023 (it is called here and now)
        took.append(time.monotonic() - began)
        answers = [ranked(client) for _ in range(8)]
        assert {each.weights["cancelled"] for each in answers} == {exponent}
        scores = late * cancelled**exponent
        assert [each.index for each in answers[0].candidates] == np.argsort(-scores).tolist()
        assert [each.score for each in answers[0].candidates] == pytest.approx(sorted(scores, reverse=True), rel=1e-3)
    assert statistics.median(took) < PROMISED_S, took
    assert [line.number for line in client.weights("flights").history] == [5, 4, 3, 2, 1]
