"""Packages that the controller fetches from where somebody keeps them, and rollouts that are begun once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from controller.database import Database
from controller.services import Services
from controller.store import PackageStore
from serinus.package import digest_of, read_manifest
from tests.controller.conftest import SLA
from tests.controller.served import give_tokens, serve

FETCH = "/v1/models/ads/versions/fetch"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    folder = tmp_path / "kept"
    folder.mkdir()
    return folder


@pytest.fixture
def api(tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """Packages are not run here. `kept` is the one place to fetch from."""
    monkeypatch.setattr("controller.store.inspect", read_manifest)
    database = Database(f"sqlite:///{tmp_path / 'controller.db'}")
    database.migrate()
    services = Services(database, PackageStore(tmp_path / "packages"), sources=(kept.as_uri(),))
    give_tokens(services.db)
    with serve(services) as client:
        client.put("/v1/models/ads", json={"sla": SLA.model_dump(mode="json")}).raise_for_status()
        yield client
    services.door.last_used.stop()
    database.close()


def test_it_is_the_version_that_a_push_would_have_made(
    api: httpx.Client, kept: Path, build: Callable[..., Path], tar_of: Callable[[Path], bytes]
) -> None:
    package = build(kept / "a", "click")
    digest, content = digest_of(package), tar_of(package)
    fetched = api.post(FETCH, json={"uri": package.as_uri()})
    assert fetched.status_code == 201
    assert fetched.json() == {"version": 1, "digest": digest, "created": True}
    again = api.post(FETCH, json={"uri": package.as_uri(), "digest": digest}).json()
    assert again == {"version": 1, "digest": digest, "created": False}
    assert api.post("/v1/models/ads/versions", content=content).json()["version"] == 1
    found = api.get("/v1/models/ads/versions", params={"digest": digest}).json()["items"]
    assert [each["version"] for each in found] == [1]
    assert api.get("/v1/models/ads/versions", params={"digest": "0" * 64}).json()["items"] == []


def test_what_it_will_not_fetch(api: httpx.Client, kept: Path, tmp_path: Path, build: Callable[..., Path]) -> None:
    package = build(kept / "a", "click")
    outside = build(tmp_path / "outside", "click")

    def refused(**body: Any) -> tuple[int, str]:
        answer = api.post(FETCH, json=body)
        return answer.status_code, answer.json()["detail"]

    status, why = refused(uri=outside.as_uri())
    assert (status, "below none of the places" in why) == (400, True)
    assert refused(uri=f"{kept.as_uri()}/../outside")[0] == 422
    assert refused(uri=f"{kept.as_uri()}x/a")[0] == 400
    assert refused(uri=f"{kept.as_uri()}/nothing")[0] == 404
    status, why = refused(uri=package.as_uri(), digest="0" * 64)
    assert (status, "expected 000000000000" in why) == (422, True)
    (package / "sample.json").write_bytes(b"[]")
    status, why = refused(uri=package.as_uri())
    assert (status, "sample.json" in why) == (422, True)
    assert api.get("/v1/models/ads/versions").json()["items"] == []


def test_a_key_begins_one_rollout(api: httpx.Client, kept: Path, build: Callable[..., Path]) -> None:
    for note in ("one", "two", "three"):
        api.post(FETCH, json={"uri": build(kept / note, "click", note=note).as_uri()}).raise_for_status()
    api.post("/v1/models/ads/promote", json={"version": 1, "initial": True}).raise_for_status()
    path, asked = "/v1/models/ads/rollouts", {"version": 2, "key": "3f0c5a9e-uid"}
    begun = api.post(path, json=asked).json()
    assert begun["key"] == asked["key"]
    assert api.post(path, json=asked).json()["id"] == begun["id"]
    api.post(f"/v1/rollouts/{begun['id']}/commands", json={"command": "abort", "reason": "x"}).raise_for_status()
    over = api.post(path, json=asked).json()
    assert (over["id"], over["phase"]) == (begun["id"], "aborted")
    other = api.post(path, json={**asked, "version": 3})
    assert (other.status_code, other.json()["title"]) == (422, "KeyReused")
    found = api.get("/v1/rollouts", params={"key": asked["key"]}).json()["items"]
    assert [each["id"] for each in found] == [begun["id"]]
    assert api.get("/v1/rollouts", params={"key": "another"}).json()["items"] == []
