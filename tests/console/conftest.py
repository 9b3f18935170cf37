"""A real controller process over a full database, and a real Chromium."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

import controller
from tests.console.stories import TOKENS, Story, made, tokens_file

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@dataclass
class Served:
    """A controller with its database: `url` without a slash at its end."""

    url: str
    story: Story
    home: Path

    def client(self, role: str = "operator") -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {TOKENS[role]}"}, timeout=30)


def serve(home: Path, **extra: str) -> tuple[subprocess.Popen[str], str]:
    """A controller process, and its URL once it is ready."""
    told = {
        **{key: value for key, value in os.environ.items() if not key.startswith("SERINUS_")},
        "PYTHONPATH": str(Path(controller.__file__).parents[1]),
        "SERINUS_HOME": str(home),
        "SERINUS_CONTROLLER_PORT": "0",
        **extra,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "controller"],
        cwd=home, env=told, stdout=subprocess.PIPE, text=True, stderr=(home / "log").open("a"),
    )  # fmt: skip
    guard = threading.Timer(60, process.kill)
    guard.start()
    assert process.stdout is not None
    line = process.stdout.readline()
    guard.cancel()
    assert line, (home / "log").read_text()
    return process, json.loads(line)["url"]


def stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    assert process.stdout is not None
    process.stdout.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A controller that knows the tokens of the stories; a monitor calls it, so that nobody is told of its silence."""
    home = tmp_path_factory.mktemp("console")
    story = made(f"sqlite:///{home / 'controller.db'}")
    process, url = serve(home, SERINUS_TOKENS_FILE=str(tokens_file(home / "tokens.json")))
    try:
        yield Served(url, story, home)
    finally:
        stop(process)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.fail("Chromium is not here: install it (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


def log_in(context: BrowserContext, served: Served, role: str) -> Page:
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.goto(f"{served.url}/console/login")
    page.get_by_label("Your token").fill(TOKENS[role])
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/console/")
    return page


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    """Logged in as an operator, at a desk."""
    context = browser.new_context(viewport=DESKTOP)  # type: ignore[arg-type]
    yield log_in(context, served, "operator")
    context.close()
