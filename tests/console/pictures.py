"""`python -m tests.console.pictures`: an incident on a real stack with Prometheus and Alertmanager, recorded.

A version that ranks one task badly is rolled out. Writes pictures of the console to docs/pictures, and prints what
docs/on-call.md shows: the story with its times, the alert as it was posted, what Prometheus has, `serinus explain`."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from deploy.observe import Observer
from examples.flights.replay import HOUR_MS, Hour, Replay
from serinus.client import Client
from serinus.home import Home
from serinus.rollouts import ENDS, Phase
from tests.alerts.test_live import START_MS, ask, firing, until
from tests.alerts.traffic import BAD, GOOD, MODEL, SLA, hours, package
from tests.alerts.webhook import webhook
from tests.e2e.conftest import REPOSITORY, Running, serinus

PICTURES = REPOSITORY / "docs" / "pictures"
MOST_BYTES = 80_000
SIZE = {"width": 1000, "height": 540}
QUERIES = (
    "serinus_guard_estimate",
    "serinus_guard_interval_low",
    "serinus_guard_verdict",
    "serinus_guard_labels_used",
    "serinus_rollout_log_e_value",
    "serinus_rollout_log_e_threshold",
)


def main() -> None:
    posts: list[tuple[float, dict[str, Any]]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        webhook(lambda post: posts.append((time.time(), post))) as url,
    ):
        home = Path(folder) / "home"
        serinus(home, "up", "--controller-port", "0", "--serving-port", "0", "--front-doors", "1")
        try:
            with Client(home=home, replay=True) as client:
                running = Running(Home(home), client)
                observer = Observer(running.home, webhook=url)
                try:
                    _incident(running, observer, Path(folder), posts)
                finally:
                    observer.stop()
        finally:
            serinus(home, "down")


def _incident(running: Running, observer: Observer, folder: Path, posts: list[tuple[float, dict[str, Any]]]) -> None:
    client = running.client
    client.apply(SLA)
    client.promote(MODEL, client.push(MODEL, package(folder, GOOD)).version, reason="first", initial=True)
    bad = client.push(MODEL, package(folder, BAD)).version
    rollout = asyncio.run(_roll_out(running, bad))
    view = client.rollout(rollout)
    began, ended = view.started_at, view.history[-1].at
    for move in view.history:
        print(f"{move.at - began:6.1f} s  {move.to}: {move.why}")
    until(lambda: firing([post for _, post in posts], "SerinusRolledBack"), "whoever is on call hears of it", 90)
    told, post = next((at, post) for at, post in posts if firing([post], "SerinusRolledBack"))
    print(f"{told - began:6.1f} s  told, {told - ended:.1f} s after the rollback")
    (alert,) = firing([post], "SerinusRolledBack")
    print(
        f"\nstarts at {alert['startsAt']}\n{alert['annotations']['summary']}\n{alert['annotations']['description']}\n"
    )
    for query in QUERIES:
        for each in ask(observer, query):
            of = {name: each["metric"][name] for name in ("slice", "metric", "stream") if name in each["metric"]}
            print(query, json.dumps(of), each["value"][1])
    for words in (("explain", MODEL), ("status",)):
        print(f"\n$ serinus {' '.join(words)}\n{_said(running.home.path, *words)}")
    _shoot(running, "/console/", "overview")
    _shoot(running, f"/console/models/{MODEL}", "violated")
    _shoot(running, f"/console/rollouts/{rollout}", "rolled-back")


async def _roll_out(running: Running, version: int) -> str:
    """Starts a rollout, sends traffic until it has ended, and takes a picture when the canary has its first look."""
    client = running.client
    replay = Replay(running.stack.serving, MODEL, running.replay_token)
    ids: list[str] = []
    taken: list[str] = []

    async def gate(hour: Hour) -> bool:
        if not ids and hour.start_ms >= START_MS + 2 * HOUR_MS:
            ids.append((await asyncio.to_thread(client.rollout_start, MODEL, version, None, "a try")).id)
        deadline = time.monotonic() + 5
        while ids and time.monotonic() < deadline:
            view = await asyncio.to_thread(client.rollout, ids[0])
            if view.phase in ENDS:
                return False
            if view.phase is Phase.CANARY and not taken:
                taken.append("canary")
                await asyncio.to_thread(_shoot, running, f"/console/models/{MODEL}", "canary")
            if view.phase not in (Phase.PENDING, Phase.LOADING, Phase.SHADOW):
                break
            await asyncio.sleep(0.1)
        return True

    await replay.run(hours(START_MS, 24 * 10), gate)
    await asyncio.to_thread(until, lambda: client.rollout(ids[0]).phase in ENDS, "it ends")
    return ids[0]


def _shoot(running: Running, path: str, name: str) -> None:
    """A picture of a page of the console, as its first screen shows it."""
    stack = running.stack
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        page = browser.new_context(viewport=SIZE).new_page()  # type: ignore[arg-type]
        page.goto(f"{stack.api}/console/login")
        page.get_by_label("Your token").fill(Path(stack.token_file).read_text().strip())
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/console/")
        page.goto(stack.api + path)
        PICTURES.mkdir(exist_ok=True)
        file = PICTURES / f"{name}.png"
        page.screenshot(path=file)
        browser.close()
    assert file.stat().st_size < MOST_BYTES, f"{file} is too large"
    print(f"picture {file.name}: {file.stat().st_size} bytes")


def _said(home: Path, *words: str) -> str:
    told = {**os.environ, "COLUMNS": "120", "SERINUS_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-m", "serinus.cli", *words], capture_output=True, text=True, env=told, check=False
    )
    return done.stdout + done.stderr


if __name__ == "__main__":
    main()
