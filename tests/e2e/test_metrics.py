"""The metrics of a real stack: what N front doors answered is added up, also after one of them was killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serinus.client import Client
from serinus.metrics import CONTROLLER, MONITOR, SERVING, Declared
from tests.e2e.conftest import Running
from tests.e2e.test_weights import SLA, fronts, registrable, until

ROOMS: dict[str, tuple[Declared, ...]] = {"controller": CONTROLLER, "serving": SERVING, "monitors": MONITOR}


def scraped(running: Running, room: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """(Name, values of the labels as they were declared) -> value; of histograms how many there were."""
    headers = {"authorization": f"Bearer {Path(running.stack.token_file).read_text().strip()}"}
    answer = httpx.get(running.stack.metrics[room], headers=headers, timeout=30).raise_for_status()
    declared = {each.name: each for each in ROOMS[room]}
    found = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            name = sample.name.removesuffix("_count") if family.type == "histogram" else sample.name
            if name in declared:
                assert set(sample.labels) == set(declared[name].labels), name
                found[name, tuple(sample.labels[label] for label in declared[name].labels)] = sample.value
            else:
                assert sample.name.endswith(("_bucket", "_sum", "_created")), sample.name
    return found


def asked(client: Client, count: int) -> None:
    for number in range(count):
        client.infer("flights", {"hour": [float(number % 24)], "origin": ["JFK"], "delay": [1.0]})


def total(found: dict[tuple[str, tuple[str, ...]], float], name: str, *, ends: Iterable[str] = ()) -> float:
    return sum(value for (each, labels), value in found.items() if each == name and labels[-len([*ends]) :] == (*ends,))


@pytest.mark.e2e
def test_what_all_front_doors_answered_is_added_up_and_never_falls(up: Callable[..., Running], tmp_path: Path) -> None:
    running = up("--front-doors", "2")
    client = running.client
    client.apply(SLA)
    client.promote("flights", client.push("flights", registrable(tmp_path / "package")).version, initial=True)
    until(lambda: fronts(client) == [1, 1], 60)
    asked(client, 60)

    def answered() -> float:
        return total(scraped(running, "serving"), "serinus_requests_total", ends=["stable", "ok"])

    until(lambda: answered() == 60, 20)
    victim = next(each for each in client.status()["replicas"] if each["role"] == "front" and each["live"])
    os.kill(int(victim["replica"].split("-")[1]), signal.SIGKILL)
    for _ in range(20):
        assert answered() >= 60
    until(lambda: len([e for e in fronts(client) if e == 1]) == 2, 60)
    before = answered()
    asked(client, 20)
    until(lambda: answered() == before + 20, 20)
    found = scraped(running, "serving")
    assert found["serinus_request_duration_seconds", ("flights", "stable")] == before + 20
    assert found["serinus_rows_total", ("flights", "stable", "1")] == before + 20
    assert found["serinus_head_duration_seconds", ("flights", "late")] >= before + 20
    assert found["serinus_recorded_rows_total", ("flights",)] == before + 20
    assert found["serinus_route_epoch", ("flights",)] == 1
    kinds = {"serinus_head_fallbacks_total", "serinus_head_failures_total", "serinus_labels_total"}
    assert {each.name for each in SERVING} - {name for name, _ in found} <= kinds
    assert ("serinus_model_version", ("flights", "stable")) in scraped(running, "controller")
    scraped(running, "monitors")
