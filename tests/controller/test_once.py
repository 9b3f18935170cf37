"""A write with an Idempotency-Key happens once: repeated, at the same time, by two controllers, cut off anywhere."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from controller.api import create_app
from controller.audit import audit
from controller.database import Database
from controller.idempotency import Idempotency
from controller.once import KEPT_S, LEASE_S, Answer, Carrying, Claim, Claims
from controller.services import Services
from controller.store import PackageStore
from controller.tables import AuditRow, OnceRow, Token
from serinus.errors import KeyReused, Stale, Unavailable
from tests.controller.served import bearer, give_tokens, serve, until


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def claims(database: Database, clock: Clock) -> Claims:
    return Claims(database, clock)


def effect(db: Database, claim: Claim) -> None:
    with Carrying(claim), db.write() as session:
        audit(session, actor="a", action="b", subject="c", detail={}, now=1.0)


def effects(db: Database) -> int:
    with db.read() as session:
        return session.scalar(select(func.count()).select_from(AuditRow)) or 0


OK = Answer(201, {"content-type": "application/json"}, b'{"a":1}')


def claimed(claims: Claims, request: str = "r") -> Claim:
    found = claims.claim("who", "key", request)
    assert isinstance(found, Claim)
    return found


def test_the_first_answer_is_given_again(claims: Claims, database: Database, clock: Clock) -> None:
    claim = claimed(claims)
    assert claims.claim("who", "key", "r") is None  # it is being carried out
    effect(database, claim)
    claims.settle(claim, OK)
    assert claims.claim("who", "key", "r") == OK
    with pytest.raises(KeyReused):
        claims.claim("who", "key", "another")
    assert isinstance(claims.claim("somebody else", "key", "another"), Claim)
    clock.now += KEPT_S + 1
    assert isinstance(claims.claim("who", "key", "another"), Claim)
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(OnceRow)) == 1  # the old ones were swept


def test_what_failed_and_changed_nothing_may_be_made_again(claims: Claims, database: Database) -> None:
    for answer in (Answer(409, {}, b""), Answer(500, {}, b""), None):
        claims.settle(claimed(claims, f"{answer}"), answer)
    claim = claimed(claims)
    effect(database, claim)
    claims.settle(claim, Answer(409, {}, b"half"))
    assert claims.claim("who", "key", "r") == Answer(409, {}, b"half")


def test_dead_before_the_commit_it_is_repeated(claims: Claims, database: Database, clock: Clock) -> None:
    dead = claimed(claims)
    clock.now += LEASE_S + 1
    again = claimed(claims)
    effect(database, again)
    claims.settle(again, OK)
    with pytest.raises(Stale):  # it was not dead, only slow: its transaction changes nothing
        effect(database, dead)
    claims.settle(dead, Answer(409, {}, b""))
    assert (effects(database), claims.claim("who", "key", "r")) == (1, OK)


def test_dead_after_the_commit_it_is_not_repeated(claims: Claims, database: Database, clock: Clock) -> None:
    effect(database, claimed(claims))
    assert claims.claim("who", "key", "r") is None
    clock.now += LEASE_S + 1
    with pytest.raises(Stale, match="carried out"):
        claims.claim("who", "key", "r")
    assert effects(database) == 1


def test_an_answer_that_is_not_kept_is_not_made_twice(claims: Claims, database: Database) -> None:
    claim = claimed(claims)
    effect(database, claim)
    claims.settle(claim, None)
    with pytest.raises(Stale, match="carried out"):
        claims.claim("who", "key", "r")


def test_of_many_one_has_it(claims: Claims) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: claims.claim("who", "key", "r"), range(16)))
    assert sum(isinstance(each, Claim) for each in found) == 1
    assert sum(each is None for each in found) == 15


@pytest.fixture
def two(database_url: str, tmp_path: Path) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """Two controllers on one database."""
    databases = [Database(database_url), Database(database_url)]
    databases[0].migrate()
    give_tokens(databases[0])
    made = [Services(db, PackageStore(tmp_path / "packages")) for db in databases]
    with serve(made[0]) as one, serve(made[1]) as other:
        yield one, other
    for db in databases:
        db.close()


def test_two_controllers_carry_a_request_out_once(two: tuple[httpx.Client, httpx.Client]) -> None:
    body = {"name": "ci", "role": "viewer"}
    sla = {"model": "ads", "tasks": {"click": {"label_window_s": 60, "absent": "negative"}}}

    def put(number: int) -> Any:
        return two[number % 2].put("/v1/models/ads", json={"sla": sla}, headers={"idempotency-key": "k1"})

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(put, range(6)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert len(two[0].get("/v1/audit?action=token.make").json()["items"]) == 0
    made = [each.post("/v1/tokens", json=body, headers={"idempotency-key": "k2"}) for each in two]
    assert [answer.status_code for answer in made] == [201, 409]
    other = two[1].put("/v1/models/ads", json={"sla": sla, "pool": "b"}, headers={"idempotency-key": "k1"})
    assert (other.status_code, other.json()["title"]) == (422, "KeyReused")
    mine = two[1].put(
        "/v1/models/ads",
        json={"sla": sla, "pool": "b"},
        headers={"idempotency-key": "k1", **bearer("engineer-token")},
    )
    assert mine.status_code == 200  # another token has keys of its own
    assert two[0].put("/v1/models/ads", json={"sla": sla}, headers={"idempotency-key": "a b"}).status_code == 400


def test_no_token_is_kept_in_an_answer(two: tuple[httpx.Client, httpx.Client], database_url: str) -> None:
    made = two[0].post("/v1/tokens", json={"name": "x", "role": "viewer"}, headers={"idempotency-key": "k"})
    db = Database(database_url)
    with db.read() as session:
        rows = list(session.scalars(select(OnceRow)))
    db.close()
    assert [(row.state, row.body) for row in rows] == [("carried_out", None)]
    assert made.json()["token"] not in str([vars(row) for row in rows])


def test_no_link_to_the_console_is_kept_in_an_answer(two: tuple[httpx.Client, httpx.Client], database_url: str) -> None:
    made = two[0].post("/v1/console/login", headers={"idempotency-key": "k"})
    code = made.json()["path"].rpartition("/")[2]
    db = Database(database_url)
    with db.read() as session:
        assert code not in str([vars(row) for row in session.scalars(select(OnceRow))])
    db.close()


def test_an_expired_token_is_told_nothing_again(two: tuple[httpx.Client, httpx.Client], database_url: str) -> None:
    token = two[0].post("/v1/tokens", json={"name": "x", "role": "engineer", "expires_s": 60}).json()["token"]
    sla = {"model": "ads", "tasks": {"click": {"label_window_s": 60, "absent": "negative"}}}
    same = {"json": {"sla": sla}, "headers": {"idempotency-key": "k", **bearer(token)}}
    assert [two[0].put("/v1/models/ads", **same).status_code for _ in range(2)] == [200, 200]
    db = Database(database_url)
    with db.write() as session:
        session.get_one(Token, "x").expires_at = 1.0
    assert two[0].put("/v1/models/ads", **same).status_code == 401
    db.close()


def test_what_takes_many_transactions_is_repeated_when_it_failed_between_two(
    two: tuple[httpx.Client, httpx.Client], build: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sla = {"model": "ads", "tasks": {"click": {"label_window_s": 60, "absent": "negative"}}}
    two[0].put("/v1/models/ads", json={"sla": sla})
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(build(tmp_path / "sent", "click"), ".")
    content = packed.getvalue()
    told = {"digest": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    upload = two[0].post("/v1/models/ads/uploads", json=told).json()["id"]
    assert two[0].patch(f"/v1/uploads/{upload}", content=content, headers={"upload-offset": "0"}).status_code == 200

    def full(*_: object) -> None:
        raise Unavailable("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(PackageStore, "keep", full)
        first = two[0].post(f"/v1/uploads/{upload}/finish", headers={"idempotency-key": "k"})
    assert first.status_code == 503
    again = two[0].post(f"/v1/uploads/{upload}/finish", headers={"idempotency-key": "k"})
    assert (again.status_code, again.json()["version"]) == (201, 1)


def test_strangers_leave_nothing_in_the_database(two: tuple[httpx.Client, httpx.Client], database_url: str) -> None:
    headers = {"idempotency-key": "k", **bearer("stranger")}
    assert two[0].post("/v1/tokens", json={}, headers=headers).status_code == 401
    db = Database(database_url)
    with db.read() as session:
        assert session.scalar(select(func.count()).select_from(OnceRow)) == 0
    db.close()


def test_the_second_is_told_to_wait(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.idempotency.WAIT_S", 0.2)
    services = Services(database, PackageStore(tmp_path / "packages"))
    app = create_app(services)
    hold, held = threading.Event(), threading.Event()

    def slow() -> dict[str, str]:
        held.set()
        assert hold.wait(20)
        return {"done": "yes"}

    app.router.add_api_route("/v1/slow", slow, methods=["POST"])
    assert any(layer.cls is Idempotency for layer in app.user_middleware)
    with serve(services, app) as api, ThreadPoolExecutor(1) as pool:
        first = pool.submit(api.post, "/v1/slow", headers={"idempotency-key": "k"})
        until(held.is_set, "the first")
        second = api.post("/v1/slow", headers={"idempotency-key": "k"})
        assert (second.status_code, second.headers["retry-after"]) == (409, "1")
        hold.set()
        assert first.result(timeout=20).json() == {"done": "yes"}
        assert api.post("/v1/slow", headers={"idempotency-key": "k"}).json() == {"done": "yes"}
