"""Tokens made, listed and revoked; limits; ids of requests; problems of every kind."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from controller.audit import audit
from controller.auth import require_tokens
from controller.database import Database
from controller.limits import Buckets, origin
from controller.services import Services
from controller.settings import Settings
from controller.store import PackageStore
from controller.tables import Token
from controller.tokens import ensure_tokens
from serinus.errors import BadInput, RateLimited
from tests.controller.served import bearer, give_tokens, serve, until


@pytest.fixture
def services(database: Database, tmp_path: Path) -> Iterator[Services]:
    made = Services(database, PackageStore(tmp_path / "packages"))
    yield made
    made.door.last_used.stop()


@pytest.fixture
def api(services: Services) -> Iterator[httpx.Client]:
    give_tokens(services.db)
    with serve(services) as client:
        yield client


def test_a_token_is_made_used_listed_and_revoked(api: httpx.Client, services: Services) -> None:
    made = api.post("/v1/tokens", json={"name": "ci", "role": "engineer", "expires_s": 3600})
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    token = made.json()["token"]
    assert len(token) >= 43
    mine = api.get("/v1/me", headers=bearer(token)).json()
    assert (mine["name"], mine["role"]) == ("ci", "engineer")
    assert api.post("/v1/tokens", json={"name": "x", "role": "admin"}, headers=bearer(token)).status_code == 403

    def listed() -> dict[str, object]:
        rows = {row["name"]: row for row in api.get("/v1/tokens?limit=1000").json()["items"]}
        assert "token" not in rows["ci"]
        assert "sha256" not in rows["ci"]
        return dict(rows["ci"])

    until(lambda: listed()["last_used_at"], "its use to be noted")
    row = listed()
    assert (row["source"], row["created_by"]) == ("api", "admin")
    assert api.post("/v1/tokens", json={"name": "ci", "role": "viewer"}).status_code == 409
    assert api.delete("/v1/tokens/ci").status_code == 204
    assert api.get("/v1/me", headers=bearer(token)).status_code == 401
    assert api.delete("/v1/tokens/ci").status_code == 404
    told = api.get("/v1/audit?subject=tokens/ci").json()["items"]
    assert [entry["action"] for entry in told] == ["token.revoke", "token.make"]
    assert token not in str(told)


def test_an_expired_token_is_good_no_more(api: httpx.Client, services: Services) -> None:
    token = api.post("/v1/tokens", json={"name": "brief", "role": "viewer", "expires_s": 60}).json()["token"]
    assert api.get("/v1/me", headers=bearer(token)).status_code == 200
    with services.db.write() as session:
        session.get_one(Token, "brief").expires_at = 1.0
    answer = api.get("/v1/me", headers=bearer(token))
    assert (answer.status_code, "expired" in answer.json()["detail"]) == (401, True)


def test_the_last_admin_is_not_locked_out(services: Services) -> None:
    with serve(services) as api:
        for body in ({"name": "a", "role": "viewer"}, {"name": "a", "role": "admin", "expires_s": 60}):
            assert api.post("/v1/tokens", json=body).status_code == 400
        token = api.post("/v1/tokens", json={"name": "a", "role": "admin"}).json()["token"]
        assert api.get("/v1/status").status_code == 401
        api.headers.update(bearer(token))
        api.post("/v1/tokens", json={"name": "b", "role": "admin", "expires_s": 600}).raise_for_status()
        assert api.delete("/v1/tokens/a").status_code == 409
        api.post("/v1/tokens", json={"name": "c", "role": "admin"}).raise_for_status()
        assert api.delete("/v1/tokens/a").status_code == 204


def test_tokens_of_the_file_and_of_the_api_live_side_by_side(services: Services, tmp_path: Path) -> None:
    file, digest = tmp_path / "tokens.json", "ab" * 32
    with pytest.raises(BadInput, match="no token is known"):
        require_tokens(services.db, loopback=False)
    file.write_text(f'[{{"name": "root", "role": "admin", "sha256": "{digest}"}}]')
    ensure_tokens(services.db, file)
    require_tokens(services.db, loopback=False)
    with services.db.write() as session:
        session.add(Token(name="ci", role="viewer", sha256="cd" * 32, source="api"))
        session.get_one(Token, "root").last_used_at = 7.0
    ensure_tokens(services.db, file)
    file.write_text(f'[{{"name": "chief", "role": "admin", "sha256": "{digest}"}}]')
    ensure_tokens(services.db, file)
    with services.db.read() as session:
        rows = {row.name: (row.source, row.last_used_at) for row in session.query(Token)}
    assert rows == {"chief": ("file", 7.0), "ci": ("api", None)}
    file.write_text(f'[{{"name": "ci", "role": "admin", "sha256": "{digest}"}}]')
    with pytest.raises(BadInput, match="made by the API"):
        ensure_tokens(services.db, file)
    with serve(services) as api:
        api.headers.pop("authorization")
        with services.db.write() as session:
            session.get_one(Token, "chief").sha256 = sha256(b"t").hexdigest()
        assert api.delete("/v1/tokens/chief", headers=bearer("t")).status_code == 409


@given(st.lists(st.floats(0, 5), max_size=60))
def test_a_bucket_never_gives_more_than_its_rate(pauses: list[float]) -> None:
    buckets, now, given_at = Buckets(2.0, 5.0), 100.0, []
    for pause in pauses:
        now += pause
        try:
            buckets.take("a", now, "x")
            given_at.append(now)
        except RateLimited:
            continue
    for first in range(len(given_at)):
        for last in range(first, len(given_at)):
            assert last - first + 1 <= 5.0 + 2.0 * (given_at[last] - given_at[first]) + 1e-6


def test_limits_are_set_from_outside() -> None:
    found = Settings.from_env({"SERINUS_RATE_PER_S": "0", "SERINUS_RATE_BURST": "7"})
    assert (found.rate_per_s, found.rate_burst) == (0.0, 7.0)
    for told in ("-1", "fast", "1e9"):
        with pytest.raises(BadInput, match="SERINUS_RATE_PER_S"):
            Settings.from_env({"SERINUS_RATE_PER_S": told})


def test_buckets_are_bounded_and_apart() -> None:
    buckets = Buckets(1.0, 1.0, most=3)
    for name in "abcdefgh":
        buckets.take(name, 0.0, "x")
    with pytest.raises(RateLimited):
        buckets.take("h", 0.0, "x")
    assert len(buckets._held) <= 3
    assert origin("2001:db8::1") == origin("2001:db8::2") != origin("2001:db8:1::2")
    assert origin("::ffff:10.0.0.1") == origin("10.0.0.1") != origin("10.0.0.2")


def test_who_asks_too_often_waits_but_no_process(api: httpx.Client, services: Services) -> None:
    services.door.people = Buckets(0.01, 3.0)
    codes = [api.get("/v1/me", headers=bearer("viewer-token")).status_code for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429]
    limited = api.get("/v1/me", headers=bearer("viewer-token"))
    assert (limited.json()["title"], int(limited.headers["retry-after"]) > 0) == ("RateLimited", True)
    assert api.get("/v1/me").status_code == 200  # another token
    for _ in range(10):
        assert api.post("/v1/monitor/exchange", json={"monitor": "m"}, headers=bearer("monitor-token")).is_success
        assert api.get("/healthz").is_success
        assert api.get("/readyz").is_success


def test_who_guesses_waits_and_a_good_token_is_good_all_the_same(api: httpx.Client, services: Services) -> None:
    services.door.failed = Buckets(0.01, 5.0)
    codes = [api.get("/v1/me", headers=bearer(f"guess{n}")).status_code for n in range(8)]
    assert codes == [401] * 5 + [429] * 3
    assert api.get("/v1/me").status_code == 200


def test_every_problem_has_details_and_an_id(api: httpx.Client) -> None:
    asked = [
        ("GET", "/nowhere", {}, 404, "NotFound"),
        ("DELETE", "/v1/status", {}, 405, "WrongMethod"),
        ("POST", "/v1/tokens", {"content": b"{}", "headers": {"content-type": "text/plain"}}, 415, "Unsupported"),
        ("POST", "/v1/tokens", {"content": b"x" * (2 << 20)}, 413, "TooLarge"),
        ("POST", "/v1/tokens", {"content": b"{"}, 400, "BadInput"),
        ("GET", "/v1/rollouts/%00", {}, (400, 404), ("BadInput", "NotFound")),
        ("GET", "/v1/tokens?cursor=x", {}, 400, "BadInput"),
        ("GET", f"/v1/audit/verify?after={2**62}", {}, 404, "NotFound"),
    ]
    for method, path, options, status, title in asked:
        answer = api.request(method, path, **options)
        body = answer.json()
        assert answer.headers["content-type"] == "application/problem+json", path
        assert answer.status_code in (status if isinstance(status, tuple) else (status,)), (path, body)
        assert body["title"] in (title if isinstance(title, tuple) else (title,)), (path, body)
        assert body["type"] == f"https://serinus.dev/errors/{body['title']}"
        assert len(answer.headers["x-request-id"]) == 32
    assert "GET" in api.request("DELETE", "/v1/status").headers["allow"]
    mine = api.get("/v1/me", headers={"x-request-id": "abc-1"})
    assert mine.headers["x-request-id"] == "abc-1"
    assert "\n" not in api.get("/v1/me", headers={"x-request-id": "a b"}).headers["x-request-id"]


def test_a_failure_is_answered_and_logged_with_its_id(
    api: httpx.Client, services: Services, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(services.door, "enter", lambda *_: 1 / 0)
    with caplog.at_level(logging.ERROR):
        answer = api.get("/v1/me", headers={"x-request-id": "the-id"})
    assert (answer.status_code, answer.json()["title"]) == (500, "SerinusError")
    assert "ZeroDivision" not in answer.text
    assert any("a request failed" in record.message for record in caplog.records)


def entries(db: Database, count: int) -> None:
    with db.write() as session:
        for number in range(count):
            detail = {"n": number, "why": "naïve\0", "x": 0.1, "deep": {"b": [1, None], "a": True}}
            audit(session, actor="eve", action="x.y", subject=f"models/m{number % 2}", detail=detail, now=1.25 + number)


@pytest.mark.parametrize(
    ("damage", "broken_at"),
    [
        ("update audit set actor = 'adam' where number = 63", 63),
        ("update audit set detail = '{}' where number = 1", 1),
        ("delete from audit where number = 20", 21),
        ("update audit set seal = (select seal from audit where number = 3) where number = 64", 64),
    ],
)
def test_an_entry_that_was_changed_is_found(
    services: Services, damage: str, broken_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.verify.PAGE", 20)
    entries(services.db, 65)
    with serve(services) as api:
        well = api.get("/v1/audit/verify").json()
        assert (well["ok"], well["entries"], well["head"], well["next"]) == (True, 65, 65, None)
        first = api.get("/v1/audit/verify?limit=41").json()
        assert (first["entries"], first["next"]) == (41, 41)
        assert api.get(f"/v1/audit/verify?after={first['next']}").json()["seal"] == well["seal"]
        with services.db.write() as session:
            session.execute(text(damage))
        found = api.get("/v1/audit/verify").json()
        assert (found["ok"], found["broken_at"]) == (False, broken_at)
        assert found["why"]


def test_a_log_that_was_cut_or_written_anew_does_not_have_the_seal_that_was_kept(services: Services) -> None:
    entries(services.db, 5)
    with serve(services) as api:
        head = api.get("/v1/audit/verify").json()
        kept = f"{head['head']}:{head['seal']}"
        assert api.get("/v1/audit/verify", params={"kept": kept}).json()["ok"]
        with services.db.write() as session:
            session.execute(text("delete from audit where number = 5"))
        assert api.get("/v1/audit/verify").json()["ok"]
        assert not api.get("/v1/audit/verify", params={"kept": kept}).json()["ok"]
        entries(services.db, 1)
        found = api.get("/v1/audit/verify", params={"kept": kept}).json()
        assert (found["ok"], found["broken_at"]) == (False, 5)


def test_the_audit_log_is_filtered(services: Services) -> None:
    entries(services.db, 7)
    with serve(services) as api:
        page = api.get("/v1/audit", params={"subject": "models/m0", "limit": 3}).json()
        assert [entry["number"] for entry in page["items"]] == [7, 5, 3]
        rest = api.get("/v1/audit", params={"subject": "models/m0", "cursor": page["next"]}).json()
        assert [entry["number"] for entry in rest["items"]] == [1]
        assert len(api.get("/v1/audit", params={"subject": "models"}).json()["items"]) == 7
        assert api.get("/v1/audit", params={"subject": "models/m"}).json()["items"] == []
        assert api.get("/v1/audit", params={"actor": "adam"}).json()["items"] == []


def test_a_database_that_cannot_be_written_still_lets_one_look(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path / 'c.db'}")
    db.migrate()
    services = Services(db, PackageStore(tmp_path / "packages"))
    give_tokens(db)
    with serve(services) as api:
        with sqlite3.connect(tmp_path / "c.db") as other:
            other.execute("create trigger no_more before update on tokens begin select raise(abort, 'no'); end")
        assert api.get("/v1/me").status_code == 200
    db.close()


def test_who_asked_for_a_job_and_who_cancelled_it_is_told(services: Services) -> None:
    give_tokens(services.db)
    sla = {"model": "ads", "tasks": {"click": {"label_window_s": 60, "absent": "negative"}}}
    with serve(services) as api:
        api.put("/v1/models/ads", json={"sla": sla}).raise_for_status()
        body = {"kind": "backtest", "model": "ads", "params": {"weeks": 1}}
        job = api.post("/v1/jobs", json=body, headers=bearer("engineer-token")).raise_for_status().json()["id"]
        api.post(f"/v1/jobs/{job}/cancel").raise_for_status()
        told = api.get("/v1/audit?subject=models/ads&limit=2").json()["items"]
    assert [(entry["actor"], entry["action"]) for entry in told] == [("admin", "job.cancel"), ("engineer", "job.ask")]
    assert {entry["detail"]["job"] for entry in told} == {job}
