"""A regression on the real stack: whoever is on call hears of it once, and that it is over."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.observe import Observer
from deploy.observe_settings import Times
from examples.flights.replay import HOUR_MS, Hour, Replay
from serinus.client import Client
from serinus.grafana.boards import boards
from serinus.home import Home
from serinus.rollouts import ENDS, Phase
from tests.alerts.rulebook import rules
from tests.alerts.traffic import BAD, GOOD, MODEL, OTHER, SLA, hours, package
from tests.alerts.webhook import webhook
from tests.e2e.conftest import Running, serinus

START_MS = 1_600_000_000_000 // HOUR_MS * HOUR_MS
WITHIN_S = 60.0
TIMES = Times(scrape="1s", evaluate="1s", group_wait="1s", group_interval="2s")

EMPTY = {
    "serinus_lost_rows_total": "no row was lost",
    "serinus_health_finding": "nothing is wrong with stable",
    "serinus_head_fallbacks_total": "no head fell back",
    "serinus_head_failures_total": "no head failed",
    "serinus:head_fallbacks:ratio_rate5m": "no head fell back",
    "serinus_monitor_errors_total": "no look failed",
    "serinus_requests_total": "no answer was an error",
    "serinus:request_errors:increase1h": "no answer was an error",
    "serinus_jobs": "nobody asked for a job",
    "serinus_monitor_late_labels_total": "no label came late",
    "serinus_guard_labels_missing": "no guard waits for labels",
    f'serinus_guard_interval_low{{model="{MODEL}", stream="canary"}}': "it never came to a canary",
}
"""Names and queries of which no data may come from a sound stack, and why."""


def until(what: Callable[[], Any], why: str, within_s: float = WITHIN_S) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := what()):
        assert time.monotonic() < deadline, f"not within {within_s} s: {why}"
        time.sleep(0.1)
    return found


@pytest.fixture
def told() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A webhook: its URL, and what Alertmanager posted there."""
    posts: list[dict[str, Any]] = []
    with webhook(posts.append) as url:
        yield url, posts


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    home = tmp_path / "home"
    serinus(home, "up", "--controller-port", "0", "--serving-port", "0", "--front-doors", "1")
    with Client(home=home, replay=True) as client:
        yield Running(Home(home), client)
    serinus(home, "down")


@pytest.fixture
def observer(running: Running, told: tuple[str, list[dict[str, Any]]]) -> Iterator[Observer]:
    started = Observer(running.home, webhook=told[0], times=TIMES)
    yield started
    started.stop()


def ask(observer: Observer, query: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{observer.url}/api/v1/query", params={"query": query}, trust_env=False).json()
    assert answer["status"] == "success", f"{query}: {answer}"
    return list(answer["data"]["result"])


def roll_out(running: Running, version: int) -> str:
    """Starts a rollout, and sends traffic until it has ended. Gives its id."""
    client = running.client
    replay = Replay(running.stack.serving, MODEL, running.replay_token)
    ids: list[str] = []

    async def gate(hour: Hour) -> bool:
        if not ids and hour.start_ms >= START_MS + 2 * HOUR_MS:
            ids.append((await asyncio.to_thread(client.rollout_start, MODEL, version, None, "a try")).id)
        deadline = time.monotonic() + 2
        while ids and time.monotonic() < deadline:
            view = await asyncio.to_thread(client.rollout, ids[0])
            if view.phase in ENDS:
                return False
            if view.phase not in (Phase.PENDING, Phase.LOADING):
                break
            await asyncio.sleep(0.1)
        return True

    tally = asyncio.run(replay.run(hours(START_MS, 24 * 10), gate))
    assert (tally.failed, tally.refused) == (0, 0), tally.errors
    return ids[0]


def firing(posts: list[dict[str, Any]], name: str, status: str = "firing") -> list[dict[str, Any]]:
    return [
        alert
        for post in posts
        for alert in post["alerts"]
        if alert["labels"]["alertname"] == name and alert["status"] == status
    ]


@pytest.mark.e2e
@pytest.mark.timeout(400)
def test_a_regression_pages_once_and_resolves(
    running: Running, observer: Observer, told: tuple[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    client, posts = running.client, told[1]
    client.apply(SLA)
    client.promote(MODEL, client.push(MODEL, package(tmp_path, GOOD)).version, reason="first", initial=True)
    bad = client.push(MODEL, package(tmp_path, BAD)).version
    rollout = roll_out(running, bad)
    assert until(lambda: client.rollout(rollout).phase in ENDS, "it ends")
    view = client.rollout(rollout)
    assert view.phase == Phase.ROLLED_BACK, view.history

    until(lambda: firing(posts, "SerinusRolledBack"), "whoever is on call hears of it")
    (alert,) = firing(posts, "SerinusRolledBack")
    assert alert["labels"] == {
        "alertname": "SerinusRolledBack",
        "severity": "page",
        "model": MODEL,
        "rollout": rollout,
        "candidate": str(bad),
        "baseline": str(bad - 1),
    }
    assert f"version {bad} is rolled back" in alert["annotations"]["summary"]
    said = alert["annotations"]["description"]
    assert re.search(r"late / \S+ / auc \+0\.\d+ \[\+0\.\d+, \+0\.\d+\] margin 0\.01;", said), said
    assert Path(alert["annotations"]["runbook_url"].removeprefix("file://")).is_file()

    other = client.push(MODEL, package(tmp_path, OTHER)).version
    client.rollout_start(MODEL, other, None, "another try")
    until(lambda: firing(posts, "SerinusRolledBack", "resolved"), "it is over")
    assert len(firing(posts, "SerinusRolledBack")) == 1
    assert firing(posts, "SerinusGuardViolated") == []
    assert queries_without_data(observer, running) == set()  # while a rollout waits, after one that ended


def queries_without_data(observer: Observer, running: Running) -> set[str]:
    """What a rule or a panel looks at, each selector by itself, and what a rule records, where there is nothing and
    should be.

    Requests go on meanwhile: a rate needs counters that rise between two scrapes."""
    bodies = (body for hour in hours(START_MS + 300 * HOUR_MS, 100) for body in hour.requests)
    url, headers = (
        f"{running.stack.serving}/v2/models/{MODEL}/infer",
        {"Authorization": f"Bearer {running.replay_token}"},
    )
    asked: dict[str, str] = {}
    shown = [target["expr"] for board in boards().values() for panel in board["panels"] for target in panel["targets"]]
    for expr in (*(rule.expr for rule in rules()), *(each.replace("$model", MODEL) for each in shown)):
        for name, matchers in re.findall(r"\b(serinus[_:][a-z0-9_:]+|up)(\{[^}]*\})?", expr):
            asked[name + matchers] = name
    for rule in rules():
        if rule.record:
            asked[rule.record] = rule.record
    wanted = {query for query, name in asked.items() if name not in EMPTY and query not in EMPTY}
    left: set[str] = set(wanted)

    def all_there() -> bool:
        assert httpx.post(url, json=next(bodies), headers=headers, trust_env=False).status_code == 200
        left.intersection_update({query for query in left if not ask(observer, f"last_over_time({query}[10m])")})
        return not left

    try:
        until(all_there, "every query has data")
    except AssertionError:
        return left
    return set()
