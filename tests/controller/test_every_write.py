"""Every route that writes leaves a line in the audit log; the few that rightly leave none are written down here."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from controller.api import create_app
from controller.database import Database
from controller.services import Services
from controller.store import PackageStore
from controller.tables import AuditRow
from serinus.package import read_manifest
from serinus.signing import new_key, sign

with warnings.catch_warnings():  # it wants another HTTP client than the one that we have
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

SLA = {"model": "ads", "tasks": {"click": {"label_window_s": 60, "absent": "negative"}}}
LEAVES = {
    "POST /v1/console/login": "console.link",
    "POST /v1/garbage": "garbage.collect",
    "POST /v1/jobs": "job.ask",
    "POST /v1/jobs/{job_id}/cancel": "job.cancel",
    "PUT /v1/keys/{name}": "key.add",
    "DELETE /v1/keys/{name}": "key.revoke",
    "PUT /v1/models/{model}": "model.create",
    "DELETE /v1/models/{model}": "model.delete",
    "PUT /v1/models/{model}/aliases/{alias}": "alias.set",
    "DELETE /v1/models/{model}/aliases/{alias}": "alias.delete",
    "POST /v1/models/{model}/bundles": "version.push",
    "POST /v1/models/{model}/promote": "version.promote",
    "POST /v1/models/{model}/rollouts": "rollout.start",
    "POST /v1/models/{model}/versions": "version.push",
    "POST /v1/models/{model}/versions/fetch": "version.push",
    "PATCH /v1/models/{model}/versions/{number}": "version.edit",
    "DELETE /v1/models/{model}/versions/{number}": "version.delete",
    "POST /v1/models/{model}/versions/{number}/signatures": "version.sign",
    "PUT /v1/models/{model}/weights": "weights.set",
    "POST /v1/notices/test": "notice.test",
    "POST /v1/rollouts/{rollout_id}/commands": "rollout.abort",
    "POST /v1/tokens": "token.make",
    "DELETE /v1/tokens/{name}": "token.revoke",
    "POST /v1/uploads/{upload}/finish": "version.push",
}
LEAVES_NOTHING = {
    "POST /v1/models/{model}/uploads",  # bytes on their way; `finish` makes a version of them
    "PATCH /v1/uploads/{upload}",
    "POST /v1/monitor/exchange",  # what it brings is evidence; what follows from it is audited as a move
    "POST /v1/pools/{pool}/watch",  # a replica says that it is there
}


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """Packages are not run here."""
    monkeypatch.setattr("controller.store.inspect", read_manifest)
    db = Database(f"sqlite:///{tmp_path / 'controller.db'}")
    db.migrate()
    made = Services(db, PackageStore(tmp_path / "packages"))
    made.clock = lambda: 1_700_000_000.0
    yield made
    db.close()


class Story:
    """Calls, one after the other, and what the audit log has more after each."""

    def __init__(self, services: Services) -> None:
        self.api, self.services = TestClient(create_app(services)), services
        self.left: dict[str, list[str]] = {}

    def entries(self) -> list[AuditRow]:
        with self.services.db.read() as session:
            return list(session.scalars(select(AuditRow).order_by(AuditRow.number)))

    def call(self, route: str, path: str, **how: Any) -> Any:
        before = len(self.entries())
        answer = self.api.request(route.split(maxsplit=1)[0], path, **how)
        assert answer.is_success, (route, answer.text)
        fresh = self.entries()[before:]
        self.left.setdefault(route, []).extend(each.action for each in fresh)
        assert all(each.actor and each.subject for each in fresh)
        return answer

    def push(self, content: bytes) -> Any:
        return self.call("POST /v1/models/{model}/versions", "/v1/models/ads/versions", content=content).json()


@pytest.fixture
def story(services: Services) -> Story:
    return Story(services)


@pytest.fixture
def tar(tmp_path: Path, build: Callable[..., Path], tar_of: Callable[[Path], bytes]) -> Callable[[str], bytes]:
    return lambda note: tar_of(build(tmp_path / note, "click", note=note))


def registry(story: Story, tar: Callable[[str], bytes], build: Callable[..., Path], tmp_path: Path) -> None:
    story.call("PUT /v1/models/{model}", "/v1/models/ads", json={"sla": SLA})
    digest = story.push(tar("a"))["digest"]
    story.push(tar("b"))
    elsewhere = {"uri": build(tmp_path / "elsewhere", "click", note="d").as_uri()}
    story.services.sources = (tmp_path.as_uri(),)
    story.call("POST /v1/models/{model}/versions/fetch", "/v1/models/ads/versions/fetch", json=elsewhere)
    version = "/v1/models/ads/versions/1"
    story.call("PATCH /v1/models/{model}/versions/{number}", version, json={"notes": "good"})
    public = new_key(tmp_path / "key")
    story.call("PUT /v1/keys/{name}", "/v1/keys/release", json={"public_key": public})
    signature = sign(digest, (tmp_path / "key").read_bytes()).model_dump()
    story.call("POST /v1/models/{model}/versions/{number}/signatures", f"{version}/signatures", json=signature)
    story.call("DELETE /v1/keys/{name}", "/v1/keys/release")
    golden = "/v1/models/ads/aliases/golden"
    story.call("PUT /v1/models/{model}/aliases/{alias}", golden, json={"version": 1})
    story.call("DELETE /v1/models/{model}/aliases/{alias}", golden)
    bundle = story.call("GET /v1/models/{model}/versions/{number}/bundle", f"{version}/bundle").content
    story.call("POST /v1/models/{model}/bundles", "/v1/models/shop/bundles", content=bundle)
    content = tar("c")
    body = {"digest": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    begun = story.call("POST /v1/models/{model}/uploads", "/v1/models/ads/uploads", json=body).json()
    upload = f"/v1/uploads/{begun['id']}"
    story.call("PATCH /v1/uploads/{upload}", upload, content=content, headers={"upload-offset": "0"})
    story.call("POST /v1/uploads/{upload}/finish", f"{upload}/finish")
    story.call("DELETE /v1/models/{model}/versions/{number}", "/v1/models/ads/versions/4")
    story.services.clock = lambda: 1_700_000_000.0 + 30 * 86_400  # nobody pushes it any more
    story.call("POST /v1/garbage", "/v1/garbage", json={"dry_run": False})


def operations(story: Story) -> None:
    story.call("POST /v1/models/{model}/promote", "/v1/models/ads/promote", json={"version": 1, "initial": True})
    story.call("PUT /v1/models/{model}/weights", "/v1/models/ads/weights", json={"weights": {"click": 2.0}})
    begun = story.call("POST /v1/models/{model}/rollouts", "/v1/models/ads/rollouts", json={"version": 2}).json()
    commands, body = f"/v1/rollouts/{begun['id']}/commands", {"command": "abort", "reason": "enough"}
    story.call("POST /v1/rollouts/{rollout_id}/commands", commands, json=body)
    job = story.call("POST /v1/jobs", "/v1/jobs", json={"kind": "plan", "model": "ads"}).json()
    story.call("POST /v1/jobs/{job_id}/cancel", f"/v1/jobs/{job['id']}/cancel")
    story.call("POST /v1/notices/test", "/v1/notices/test", json={"model": "ads"})
    watch = {"report": {"replica": "front-1", "role": "front"}, "known": {}, "wait_s": 0}
    story.call("POST /v1/pools/{pool}/watch", "/v1/pools/default/watch", json=watch)
    story.call("POST /v1/monitor/exchange", "/v1/monitor/exchange", json={"monitor": "m1"})
    story.call("DELETE /v1/models/{model}", "/v1/models/ads", params={"retire": True, "reason": "over"})


def access(story: Story) -> None:
    made = story.call("POST /v1/tokens", "/v1/tokens", json={"name": "boss", "role": "admin"}).json()
    story.api.headers["authorization"] = f"Bearer {made['token']}"
    story.call("POST /v1/tokens", "/v1/tokens", json={"name": "eve", "role": "viewer"})
    story.call("DELETE /v1/tokens/{name}", "/v1/tokens/eve")
    story.call("POST /v1/console/login", "/v1/console/login")


def test_every_write_is_in_the_audit_log(
    story: Story, tar: Callable[[str], bytes], build: Callable[..., Path], tmp_path: Path
) -> None:
    paths: dict[str, dict[str, Any]] = story.api.get("/openapi.json").json()["paths"]
    known = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert {each for each in known if not each.startswith("GET ")} == LEAVES.keys() | LEAVES_NOTHING
    registry(story, tar, build, tmp_path)
    operations(story)
    access(story)
    reading = "GET /v1/models/{model}/versions/{number}/bundle"
    assert "version.export" in story.left.pop(reading)  # it gives away a sample of raw inputs
    silent = {route for route, left in story.left.items() if not left}
    assert silent == LEAVES_NOTHING
    assert {route: LEAVES[route] in left for route, left in story.left.items() if left} == dict.fromkeys(LEAVES, True)
    bearer = story.api.headers["authorization"].removeprefix("Bearer ")
    assert not any(bearer in str(each.detail) for each in story.entries())
