"""Every page of the console where there is next to nothing to show: it answers, and says what to do next."""

from __future__ import annotations

import html
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller import leases
from controller.advance import promote_now, start
from controller.api import create_app
from controller.console.app import PAGES
from controller.database import Database
from controller.jobs import queue
from controller.registry import add_version, put_model
from controller.rollouts import Ask
from controller.services import Services
from controller.store import PackageStore
from tests.console.pieces import manifest_of
from tests.console.stories import sla_of

with warnings.catch_warnings():  # it wants another HTTP client than the one that we have
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

NOW = 1_700_000_000.0


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    db = Database(f"sqlite:///{tmp_path / 'controller.db'}")
    db.migrate()
    made = Services(db, PackageStore(tmp_path / "packages"), lambda: NOW)
    yield made
    db.close()


@pytest.fixture
def console(services: Services) -> TestClient:
    """Nobody has a token: everybody on this machine is admin. What the server raises is a page."""
    return TestClient(create_app(services), base_url="http://127.0.0.1", raise_server_exceptions=False)


def filled(services: Services) -> dict[str, str]:
    """A model without versions (bare); one whose versions were never measured, with a rollout that has no look yet."""
    with services.db.write() as session:
        for name in ("bare", "ads"):
            put_model(session, sla_of(name), "default", NOW)
        for number in (1, 2):
            add_version(session, "ads", f"{number}" * 64, manifest_of(str(number)), NOW)
        promote_now(session, "ads", 1, services.store.uri, ask=Ask("promote", "", "test"), initial=True, now=NOW)
        rollout = start(session, "ads", 2, None, why="", actor="test", now=NOW).id
        job = queue(session, "plan", "ads", {}, actor="test", now=NOW)
    return {"rollout_id": rollout, "job_id": job, "model": "ads", "number": "2", "command": "pause", "deed": "rollout"}


def templates() -> set[str]:
    """Every path that the console answers to GET."""
    routes = [route for each in PAGES for route in each.router.routes]
    return {route.path for route in routes if "GET" in getattr(route, "methods", ())}


EMPTY = {
    "/": "serinus apply",
    "/models": "serinus apply",
    "/rollouts": "A version's page starts one",
    "/jobs": "serinus plan MODEL",
    "/audit": "No entry",
    "/processes": "serinus up",
}
"""Where there is nothing at all: what each list says."""
SPARSE = {
    "/models/bare": "serinus push bare FOLDER",
    "/models/bare/diff": "",
    "/models/ads/versions/1": "what users see is judged in a rollout",
    "/models/ads/versions/2": "against version 1",
    "/rollouts/{rollout_id}": "None yet. It comes with the first tick of labels",
    "/rollouts/{rollout_id}/explain": "",
}
ELSEWHERE = {
    "/login": 303,  # nobody needs to log in here
    "/login/{code}": 401,  # no such link was made
    "/models/{model}/diff": 200,
    "/rollouts/{rollout_id}/looks/{tick_ms}": 404,  # there is none
}


def test_every_page_answers(console: TestClient, services: Services) -> None:
    known = filled(services)
    asked, wrong = set(), {}
    for template in sorted(templates()):
        path = re.sub(r"{(\w+)(:\w+)?}", lambda found: known.get(found[1], "1"), template)
        answer = console.get(f"/console{path}", follow_redirects=False)
        asked.add(template)
        if answer.status_code != ELSEWHERE.get(template, 200) or "Traceback" in answer.text:
            wrong[template] = (path, answer.status_code, re.findall(r"<h1.*?</main>", answer.text, re.DOTALL)[:1])
    assert not wrong
    assert len(asked) > 20


def text_of(answer: Any) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", answer.text)))


@pytest.mark.parametrize("path", EMPTY)
def test_a_list_without_a_line_says_what_to_do_next(console: TestClient, path: str) -> None:
    answer = console.get(f"/console{path}")
    assert answer.status_code == 200
    assert EMPTY[path] in text_of(answer)


def test_a_page_without_content_says_what_to_do_next(console: TestClient, services: Services) -> None:
    known = filled(services)
    for path, words in SPARSE.items():
        answer = console.get(f"/console{path.format(**known)}")
        assert answer.status_code == 200, path
        assert words in text_of(answer), path


def test_who_acts_is_told_and_that_nobody_does(console: TestClient, services: Services) -> None:
    for words in ("No controller acts", "Another controller acts"):
        for path in ("/", "/processes"):
            assert words in text_of(console.get(f"/console{path}"))
        leases.hold(services.db, "another", NOW)
