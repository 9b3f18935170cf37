"""What processes count is added up without ever falling, and as many series come of it as was said."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import get_args

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from serinus.exposition import Scraped, generate_latest
from serving import tally_files
from serving.ask import Output
from serving.head import Reason
from serving.tally import FAST_BUCKETS_NS, Tally, Timed
from serving.tally_files import Sums, leave
from serving.telling import front_samples, shown

DURATION = "serinus_request_duration_seconds"


def outputs(*tasks: str, version: int = 1, fallback: str = "") -> list[Output]:
    return [Output(task, np.zeros(1, np.float32), version, fallback) for task in tasks]


@given(st.lists(st.integers(0, 10**10), max_size=50))
def test_a_histogram_counts_each_time_once_where_it_belongs(times: list[int]) -> None:
    timed = Timed(FAST_BUCKETS_NS)
    for ns in times:
        timed.took(ns)
    bounds = [0, *FAST_BUCKETS_NS, math.inf]
    wanted = [sum(low < ns <= high or (ns == 0 == low) for ns in times) for low, high in itertools.pairwise(bounds)]
    assert timed.counts == wanted
    assert timed.sum_ns == sum(times)


def of_registry(registry: CollectorRegistry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = generate_latest(registry).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def ended_pid() -> int:
    """Of a process that was, and is no more."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_process_that_ended_still_counts_but_its_gauges_do_not(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    registry.register(Scraped(shown(tmp_path)))
    tally = Tally()
    for _ in range(3):
        tally.answered("ads", "stable", 2_000_000, 2, outputs("click", "buy"))
    tally.answered("ads", "canary", 2_000_000, 1, outputs("click", version=2, fallback="stable"))
    tally.refused("ads", 503)
    samples = front_samples(tally, {"requests_in_flight": 4}, {"ads": {"predictions": 5}}, {"ads": 7})
    leave(tmp_path, "alive", samples)
    gone = {**orjson.loads(orjson.dumps(samples)), "pid": ended_pid()}
    (tmp_path / "gone.json").write_bytes(orjson.dumps(gone))
    (tmp_path / "torn.json").write_bytes(b'{"pid"')
    found = of_registry(registry)
    ads = ("model", "ads")
    assert found["serinus_requests_total", (("arm", "stable"), ads, ("result", "ok"))] == 6
    assert found["serinus_requests_total", (("arm", "stable"), ads, ("result", "shed"))] == 2
    assert found["serinus_rows_total", (("arm", "stable"), ads, ("version", "1"))] == 12
    fell = (("arm", "canary"), ads, ("reason", "candidate"), ("task", "click"))
    assert found["serinus_head_fallbacks_total", fell] == 2
    assert found["serinus_lost_rows_total", (ads, ("reason", "predictions"))] == 10
    assert found[f"{DURATION}_count", (("arm", "stable"), ads)] == 6
    assert found[f"{DURATION}_bucket", (("arm", "stable"), ("le", "0.0025"), ads)] == 6
    assert found[f"{DURATION}_bucket", (("arm", "stable"), ("le", "0.001"), ads)] == 0
    assert found["serinus_requests_in_flight", ()] == 4
    assert found["serinus_route_epoch", (ads,)] == 7


def test_why_heads_gave_nothing_is_added_up_over_versions(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    registry.register(Scraped(shown(tmp_path)))
    tally, name = Tally(), "serinus_head_failures_total"
    for counts in (first := Counter(overrun=3, breaker=1), Counter(overrun=4), first):
        tally.adopt_counts(name, ("ads", "click", "stable"), counts)
    leave(tmp_path, "front", tally.samples())
    found = of_registry(registry)
    labels = (("arm", "stable"), ("model", "ads"))
    assert found[name, (*labels, ("reason", "overrun"), ("task", "click"))] == 7
    assert found[name, (*labels, ("reason", "breaker"), ("task", "click"))] == 1


def test_the_least_epoch_is_shown(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    registry.register(Scraped(shown(tmp_path)))
    for epoch in (9, 8, 9):
        leave(tmp_path, f"front-{epoch}-{id(epoch)}", front_samples(Tally(), {}, {}, {"ads": epoch}))
    assert of_registry(registry)["serinus_route_epoch", (("model", "ads"),)] == 8


def test_files_of_the_past_are_folded_and_sums_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally_files, "MOST_FILES", 3)
    (tmp_path / "of an earlier start.json").write_bytes(orjson.dumps({"pid": 1, "counts": [["x", [], 1000]]}))
    sums, pid = Sums(tmp_path), ended_pid()
    tally = Tally()
    tally.answered("ads", "stable", 1, 1, outputs("click"))
    for number in range(10):
        (tmp_path / f"{number}.json").write_bytes(orjson.dumps({"pid": pid, **tally.samples()}))
        added = sums.read()
        assert added.counts["serinus_requests_total", ("ads", "stable", "ok")] == number + 1
        assert sum(added.times[DURATION, ("ads", "stable")][0]) == number + 1
    assert len(list(tmp_path.glob("*.json"))) <= 4
    assert sums.read().counts["serinus_requests_total", ("ads", "stable", "ok")] == 10


def test_as_many_series_as_the_page_of_metrics_says(tmp_path: Path) -> None:
    """10 models with 8 tasks: what one pool shows with stable, canary and shadow, every kind of fallback and reason."""
    registry = CollectorRegistry()
    registry.register(Scraped(shown(tmp_path)))
    tally, tasks = Tally(), [f"t{number}" for number in range(8)]
    models = [f"m{number}" for number in range(10)]
    for model in models:
        for arm in ("stable", "canary", "control"):
            for stand_in in ("", "base_rate", "constant", "stable"):
                tally.answered(model, arm, 1, 1, outputs(*tasks, fallback=stand_in))
        tally.scored(model, "shadow", 1, outputs(*tasks, version=2))
        for status in (400, 500, 503, 504):
            tally.refused(model, status)
        for task in tasks:
            tally.adopt("serinus_head_duration_seconds", (model, task), Timed(FAST_BUCKETS_NS[:8]))
            for arm in ("stable", "canary", "shadow"):
                every = Counter(dict.fromkeys(get_args(Reason), 1))
                tally.adopt_counts("serinus_head_failures_total", (model, task, arm), every)
    lost: dict[str, dict[str, int]] = {model: {} for model in models}
    leave(tmp_path, f"front-{os.getpid()}", front_samples(tally, {}, lost, dict.fromkeys(models, 1)))
    assert len(of_registry(registry)) == 4_082
