"""Which request was a slow one: its id stands beside the bucket, for a scraper that asks in OpenMetrics."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from deploy.processes import die_with_parent
from serinus.exposition import Port, Scraped
from serving.tally import Tally
from serving.tally_files import leave
from serving.telling import shown

NAME = "serinus_request_duration_seconds"
OPEN = {"accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}


@pytest.fixture
def port(tmp_path: Path) -> Iterator[Port]:
    registry = CollectorRegistry()
    registry.register(Scraped(shown(tmp_path / "counts")))
    made = Port(registry, "127.0.0.1", 0)
    yield made
    made.close()


def exemplars(text: str) -> dict[str, str]:
    """Bound of a bucket -> id of the request beside it."""
    return {
        sample.labels["le"]: sample.exemplar.labels["request_id"]
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.exemplar is not None
    }


def test_the_newest_request_of_each_bucket_stands_beside_it(port: Port, tmp_path: Path) -> None:
    ids = [uuid.uuid4() for _ in range(4)]
    first, second = Tally(), Tally()
    first.answered("ads", "stable", 2_000_000, 1, (), request=ids[0])
    first.answered("ads", "stable", 2_000_001, 1, (), request=ids[1])
    first.answered("ads", "stable", 9_000_000_000, 1, (), request=ids[2])
    first.answered("ads", "stable", 30_000_000, 1, ())  # nobody remembers which
    leave(tmp_path / "counts", "front-1-a", first.samples())
    second.answered("ads", "stable", 2_000_002, 1, (), request=ids[3])
    leave(tmp_path / "counts", "front-2-b", second.samples())
    told = httpx.get(port.url, headers=OPEN, timeout=10)
    assert told.headers["content-type"].startswith("application/openmetrics-text")
    found = exemplars(told.text)
    assert len(found) == 2
    assert set(found.values()) == {str(ids[2]), str(ids[3])}
    plain = httpx.get(port.url, timeout=10)
    assert plain.headers["content-type"].startswith("text/plain")
    assert "request_id" not in plain.text
    counts = [line for line in plain.text.splitlines() if line.startswith(f"{NAME}_count")]
    assert counts == [line for line in told.text.splitlines() if line.startswith(f"{NAME}_count")]


def test_a_request_that_was_traced_is_the_better_example(port: Port, tmp_path: Path) -> None:
    traced, plain, tally = uuid.uuid4(), uuid.uuid4(), Tally()
    tally.answered("ads", "stable", 2_000_000, 1, (), request=traced, trace="4bf92f3577b34da6a3ce929d0e0e4736")
    tally.answered("ads", "stable", 2_000_000, 1, (), request=plain)
    leave(tmp_path / "counts", "front-1-a", tally.samples())
    other = Tally()
    other.answered("ads", "stable", 2_000_000, 1, (), request=plain)
    leave(tmp_path / "counts", "front-2-b", other.samples())
    text = httpx.get(port.url, headers=OPEN, timeout=10).text
    assert set(exemplars(text).values()) == {str(traced)}
    assert 'trace_id="4bf92f3577b34da6a3ce929d0e0e4736"' in text


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="Debian's prometheus is not installed")
def test_prometheus_keeps_it(port: Port, tmp_path: Path) -> None:
    request, tally = uuid.uuid4(), Tally()
    tally.answered("ads", "canary", 2_000_000, 1, (), request=request)
    leave(tmp_path / "counts", f"front-{os.getpid()}-a", tally.samples())
    scrape = {"job_name": "it", "static_configs": [{"targets": [port.url.split("/")[2]]}]}
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={tmp_path / 'prometheus.yml'}",
                f"--storage.tsdb.path={tmp_path / 'data'}",
                "--web.listen-address=127.0.0.1:0",
                "--enable-feature=exemplar-storage",
            ],
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent,  # noqa: PLW1509
        )
    try:
        url = until(lambda: address(tmp_path / "log"))
        query = {"query": NAME + "_bucket", "start": str(time.time() - 60), "end": str(time.time() + 60)}

        def found() -> Any:
            return httpx.get(f"{url}/api/v1/query_exemplars", params=query, timeout=10).json().get("data")

        (series,) = until(found)
        assert series["seriesLabels"]["model"] == "ads"
        assert series["exemplars"][0]["labels"] == {"request_id": str(request)}
        assert float(series["exemplars"][0]["value"]) == 0.002
    finally:
        process.terminate()
        process.wait(20)


def address(log: Path) -> str:
    """Where Prometheus says that it listens."""
    for line in log.read_text().splitlines():
        if "Listening on" in line:
            return "http://" + line.split("address=")[1].split()[0]
    return ""


def until(condition: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    end = time.monotonic() + timeout_s
    while True:
        try:
            if found := condition():
                return found
        except httpx.TransportError:
            pass
        assert time.monotonic() < end
        time.sleep(0.1)
