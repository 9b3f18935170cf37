"""The port of metrics: who may ask, what is answered, and what is refused."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from serinus.errors import BadInput, Unavailable
from serinus.exposition import Page, Port, Scraped, counter, gauge


def filled(page: Page) -> None:
    page.put("serinus_jobs", 3, "backtest", "queued")
    page.put("serinus_guard_labels_missing", None, "m", "s", "t", "o", "auc")


@pytest.fixture
def registry() -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(Scraped(filled))
    counter("serinus_monitor_errors_total", made).labels("ads").inc(2)
    return made


def test_metrics_are_shown_as_they_are_declared(registry: CollectorRegistry) -> None:
    port = Port(registry, "127.0.0.1", 0)
    try:
        answer = httpx.get(port.url)
        assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/plain")
        assert 'serinus_jobs{kind="backtest",state="queued"} 3.0' in answer.text
        assert 'serinus_monitor_errors_total{model="ads"} 2.0' in answer.text
        assert "labels_missing" not in answer.text
        assert httpx.get(port.url.removesuffix("metrics") + "secrets").status_code == 404
    finally:
        port.close()


def test_a_token_is_asked_for_and_may_be_exchanged(registry: CollectorRegistry, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one\n")
    port = Port(registry, "0.0.0.0", 0, token)
    url = port.url.replace("0.0.0.0", "127.0.0.1")

    def status(shown: str) -> int:
        return httpx.get(url, headers={"authorization": shown} if shown else {}).status_code

    try:
        assert [status(shown) for shown in ("", "Bearer two", "one", "Bearer one")] == [401, 401, 401, 200]
        token.write_text("two\n")
        assert [status("Bearer one"), status("Bearer two")] == [401, 200]
        token.write_text("")
        assert [status("Bearer"), status("Bearer two")] == [401, 401]
        token.unlink()
        assert status("Bearer two") == 401
    finally:
        port.close()


def test_nothing_is_open_to_other_machines_without_a_token(registry: CollectorRegistry) -> None:
    for host in ("0.0.0.0", "::", "10.1.2.3", "example.org"):
        with pytest.raises(BadInput, match="SERINUS_METRICS_HOST"):
            Port(registry, host, 0)


def test_a_port_that_is_taken_is_told(registry: CollectorRegistry) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Unavailable, match="cannot listen"):
        Port(registry, "127.0.0.1", taken.getsockname()[1])


def test_what_is_not_declared_is_a_fault_of_ours(registry: CollectorRegistry) -> None:
    with pytest.raises(KeyError):
        Page().put("serinus_nothing", 1)
    with pytest.raises(TypeError):
        Page().put("serinus_jobs", 1, "backtest")
    with pytest.raises(TypeError):
        gauge("serinus_monitor_errors_total", registry)
