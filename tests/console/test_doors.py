"""Who gets in, what a form must carry, and what no page lets through."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serinus.client import Client
from tests.console.conftest import Served, serve, stop
from tests.console.stories import HOSTILE, TOKENS, tokens_file
from tests.console.test_pages import PAGES, path_of

SLA = {"model": "ads", "tasks": {"click": {"label_window_s": 60, "absent": "negative"}}}


class Surfer:
    """A browser without eyes: it keeps cookies and sends what a browser says of where a form is from."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=30)

    def csrf(self, path: str) -> str:
        found = re.search(r'name="csrf" value="([0-9a-f]{64})"', self.http.get(path).text)
        assert found
        return found[1]

    def post(self, path: str, fields: dict[str, str], **headers: str) -> httpx.Response:
        told = {"Origin": self.url, "Sec-Fetch-Site": "same-origin", **headers}
        return self.http.post(path, data=fields, headers=told)

    def log_in(self, role: str, next_: str = "/console/") -> httpx.Response:
        csrf = self.csrf("/console/login")
        return self.post("/console/login", {"csrf": csrf, "token": TOKENS[role], "next": next_})


@pytest.fixture
def surfer(served: Served) -> Iterator[Surfer]:
    made = Surfer(served.url)
    yield made
    made.http.close()


def phase(served: Served, name: str) -> str:
    with served.client() as client:
        found: str = client.get(f"/v1/rollouts/{served.story.rollouts[name]}").json()["phase"]
        return found


def pause(served: Served) -> str:
    return f"/console/rollouts/{served.story.rollouts['canary']}/do/pause"


def test_nobody_gets_in_without_a_token(surfer: Surfer, served: Served) -> None:
    for name in PAGES:
        answer = surfer.http.get(path_of(served, name))
        known = (answer.status_code, "console/login" in answer.headers.get("location", ""))
        assert known in ((303, True), (404, False))
        assert "ads" not in answer.text
    csrf = surfer.csrf("/console/login")
    wrong = surfer.post("/console/login", {"csrf": csrf, "token": "no-such-token"})
    assert wrong.status_code == 401
    assert "not known" in wrong.text
    monitor = surfer.post("/console/login", {"csrf": csrf, "token": TOKENS["monitor"]})
    assert monitor.status_code == 403


def test_the_cookie_is_for_the_browser_alone(surfer: Surfer) -> None:
    before = surfer.http.get("/console/login").headers["set-cookie"]
    answer = surfer.log_in("viewer")
    cookie = answer.headers["set-cookie"]
    assert answer.status_code == 303
    for word in ("HttpOnly", "SameSite=strict", "Path=/console", "Max-Age=43200"):
        assert word in cookie
    assert "Secure" not in cookie  # on loopback; see below
    assert cookie.partition(";")[0] != before.partition(";")[0]
    assert TOKENS["viewer"] not in cookie
    away = surfer.http.get("/console/login", headers={"Host": "console.example", "Cookie": ""})
    assert "Secure" in away.headers["set-cookie"]


@pytest.mark.parametrize(
    ("headers", "csrf"),
    [
        ({"Origin": "https://evil.example"}, True),
        ({"Origin": "null"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": "same-site"}, True),
        ({}, False),
    ],
)
def test_a_form_from_elsewhere_does_nothing(
    surfer: Surfer, served: Served, headers: dict[str, str], csrf: bool
) -> None:
    surfer.log_in("operator")
    mark = surfer.csrf(pause(served))
    before = phase(served, "canary")
    told = {"reason": "not mine", "seen": "canary.1.3", **({"csrf": mark} if csrf else {"csrf": "0" * 64})}
    answer = surfer.post(pause(served), told, **headers)
    assert answer.status_code == 403
    assert phase(served, "canary") == before


def test_a_form_without_any_word_of_where_it_is_from_does_nothing(surfer: Surfer, served: Served) -> None:
    surfer.log_in("operator")
    mark = surfer.csrf(pause(served))
    assert surfer.http.post(pause(served), data={"csrf": mark}).status_code == 403


def test_a_command_that_was_read_before_the_rollout_moved_is_refused(surfer: Surfer, served: Served) -> None:
    surfer.log_in("operator")
    before = phase(served, "canary")
    answer = surfer.post(pause(served), {"csrf": surfer.csrf(pause(served)), "seen": "shadow.0.1"})
    assert answer.status_code == 409
    assert "it has moved on since you opened this page" in answer.text
    assert phase(served, "canary") == before


def test_an_engineer_may_not_what_an_operator_may(surfer: Surfer, served: Served) -> None:
    surfer.log_in("engineer")
    mark = surfer.csrf(pause(served))
    path = pause(served).replace("pause", "promote")
    assert surfer.post(path, {"csrf": mark, "reason": "mine", "seen": "canary.1.3"}).status_code == 403
    weights = surfer.post("/console/models/ads/weights", {"csrf": mark, "weight.click": "9"})
    assert weights.status_code == 403


def test_every_answer_has_its_headers(surfer: Surfer, served: Served) -> None:
    surfer.log_in("operator")
    for path in (*(path_of(served, name) for name in PAGES), "/console/login", "/console/assets/none.css"):
        headers = surfer.http.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"


def test_assets_are_kept_for_ever_and_come_from_here(surfer: Surfer) -> None:
    text = surfer.http.get("/console/login").text
    found = re.findall(r'(?:href|src)="(/console/assets/[^"]+)"', text)
    assert len(set(found)) == 4
    for path in found:
        answer = surfer.http.get(path)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    assert not [path for path in re.findall(r'(?:href|src)="([^"]+)"', text) if not re.match("/[a-z]|#", path)]


def test_nothing_hostile_comes_out_as_it_went_in(surfer: Surfer, served: Served) -> None:
    surfer.log_in("operator")
    shown = 0
    for name in PAGES:
        text = surfer.http.get(path_of(served, name)).text
        shown += "&lt;script&gt;document.title" in text
        assert "<script>document" not in text
        assert "<img src=x" not in text
        assert not re.search(r'"\s+onmouseover=', text)
        assert not re.search(r"<[^>]+\sstyle=", text)
        assert len(re.findall(r"<script", text)) == 2  # ours, from files
    assert shown >= 6
    assert HOSTILE not in surfer.http.get(f"/console/models?find={HOSTILE}").text


def test_the_way_on_after_the_log_in_stays_inside(surfer: Surfer) -> None:
    for path in ("https://evil.example/console/", "//evil.example/console/", "/console/\\evil", "javascript:1"):
        assert surfer.log_in("viewer", path).headers["location"] == "/console/"
        surfer.http.cookies.clear()
    assert surfer.log_in("viewer", "/console/audit").headers["location"] == "/console/audit"


def test_a_link_opens_the_console_once(surfer: Surfer, served: Served) -> None:
    with served.client("engineer") as client:
        link = client.post("/v1/console/login").json()
    assert link["expires_in_s"] == 60
    elsewhere = surfer.http.get(link["path"], headers={"Sec-Fetch-Site": "cross-site"})
    assert elsewhere.status_code == 403
    answer = surfer.http.get(link["path"])
    assert answer.headers["location"] == "/console/"
    assert "engineer-ops" in surfer.http.get("/console/").text
    second = Surfer(served.url)
    refused = second.http.get(link["path"])
    assert refused.status_code == 401
    assert "was used already" in refused.text
    assert httpx.post(f"{served.url}/v1/console/login").status_code == 401


def test_the_client_makes_such_a_link(surfer: Surfer, served: Served) -> None:
    with Client(api=served.url, token=TOKENS["engineer"]) as client:
        link = client.console_link()
    assert link.startswith(f"{served.url}/console/login/")
    assert surfer.http.get(link).status_code == 303
    assert "engineer-ops" in surfer.http.get("/console/").text


def test_a_log_in_ends_with_its_token(surfer: Surfer, served: Served) -> None:
    with served.client("admin") as client:
        made = client.post("/v1/tokens", json={"name": "guest", "role": "viewer"})
        token = made.raise_for_status().json()["token"]
        csrf = surfer.csrf("/console/login")
        surfer.post("/console/login", {"csrf": csrf, "token": token})
        assert surfer.http.get("/console/").status_code == 200
        client.delete("/v1/tokens/guest").raise_for_status()
    assert surfer.http.get("/console/").status_code == 303


def test_who_logged_out_is_out_also_with_the_old_cookie(surfer: Surfer) -> None:
    surfer.log_in("viewer")
    old = dict(surfer.http.cookies)
    surfer.post("/console/logout", {"csrf": surfer.csrf("/console/")})
    surfer.http.cookies.update(old)
    assert surfer.http.get("/console/").status_code == 303


def test_without_tokens_only_this_machine_by_its_own_name(tmp_path: Path) -> None:
    process, url = serve(tmp_path)
    try:
        assert "anybody" in httpx.get(f"{url}/console/").text
        rebound = httpx.get(f"{url}/console/", headers={"Host": "evil.example"})
        assert rebound.status_code == 403
        assert "anybody" not in rebound.text
        surfer = Surfer(url)
        surfer.http.put("/v1/models/ads", json={"sla": SLA}).raise_for_status()
        fields = {"weight.click": "2", "reason": "for me"}
        refused = surfer.post("/console/models/ads/weights", {"csrf": "0" * 64, **fields})
        assert refused.status_code == 403
        mine = surfer.post("/console/models/ads/weights", {"csrf": surfer.csrf("/console/models/ads"), **fields})
        assert mine.status_code == 303
    finally:
        stop(process)


def test_a_console_of_nothing_says_where_to_begin(tmp_path: Path) -> None:
    process, url = serve(tmp_path, SERINUS_TOKENS_FILE=str(tokens_file(tmp_path / "tokens.json")))
    surfer = Surfer(url)
    try:
        surfer.log_in("viewer")
        for page in ("", "models", "rollouts", "jobs", "audit", "processes", "overview/live"):
            answer = surfer.http.get(f"/console/{page}")
            assert answer.status_code == 200, page
            assert "Traceback" not in answer.text
        assert "serinus apply" in surfer.http.get("/console/models").text
    finally:
        surfer.http.close()
        stop(process)
