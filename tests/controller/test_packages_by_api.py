"""Packages that replicas and monitors read through the API: all of them or not at all, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from controller.database import Database
from controller.services import Services
from controller.store import PackageStore
from serinus.errors import InvalidPackage
from serinus.package import digest_of, read_manifest
from serinus.package_api import package_uri
from serinus.package_cache import PackageCache
from serinus.routes import PackageRef
from tests.controller.conftest import SLA
from tests.controller.served import bearer, give_tokens, serve


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """Packages are not run here. The environment is that of a replica."""
    monkeypatch.setattr("controller.store.inspect", read_manifest)
    database = Database(f"sqlite:///{tmp_path / 'controller.db'}")
    database.migrate()
    services = Services(database, PackageStore(tmp_path / "packages", by_api=True))
    give_tokens(services.db)
    (tmp_path / "token").write_text("replica-token\n")
    monkeypatch.setenv("SERINUS_TOKEN_FILE", str(tmp_path / "token"))
    with serve(services) as client:
        monkeypatch.setenv("SERINUS_API", str(client.base_url))
        client.put("/v1/models/ads", json={"sla": SLA.model_dump(mode="json")}).raise_for_status()
        yield client
    services.door.last_used.stop()
    database.close()


@pytest.fixture
def digest(api: httpx.Client, tmp_path: Path, build: Callable[..., Path], tar_of: Callable[[Path], bytes]) -> str:
    """Of a package that was pushed."""
    package = build(tmp_path / "package", "click")
    api.post("/v1/models/ads/versions", content=tar_of(package)).raise_for_status()
    api.post("/v1/models/ads/promote", json={"version": 1, "initial": True}).raise_for_status()
    return digest_of(package)


@pytest.fixture
def cache(tmp_path: Path) -> PackageCache:
    return PackageCache(tmp_path / "fetched", 1 << 30, set)


def test_the_route_table_names_what_the_api_gives(
    api: httpx.Client, digest: str, cache: PackageCache, tmp_path: Path
) -> None:
    report = {"replica": "r1", "role": "front"}
    asked = {"report": report, "known": {}, "wait_s": 0}
    (table,) = api.post("/v1/pools/default/watch", json=asked).json()["tables"]
    ref = PackageRef.model_validate(table["packages"]["1"])
    assert ref == PackageRef(digest=digest, uri=package_uri(digest))
    shutil.rmtree(tmp_path / "package")
    folder, manifest = cache.fetch(ref)
    assert digest_of(folder) == digest
    for name, entry in manifest.files.items():
        assert (folder / name).stat().st_size == entry.size_bytes
    assert api.get("/v1/models/ads/versions/1").json()["metrics"] is not None  # the card reads the store itself


def test_what_was_altered_cut_off_or_is_not_there_is_refused(digest: str, cache: PackageCache, tmp_path: Path) -> None:
    ref = PackageRef(digest=digest, uri=package_uri(digest))
    stored = tmp_path / "packages" / digest / "sample.json"
    whole = stored.read_bytes()
    for wrong in (whole[:-1], whole + b" ", whole.replace(b"0.5", b"0.6")):
        stored.write_bytes(wrong)
        with pytest.raises(InvalidPackage, match=r"sample\.json was altered"):
            cache.fetch(ref)
    stored.write_bytes(whole)
    with pytest.raises(FileNotFoundError):
        cache.fetch(PackageRef(digest="0" * 64, uri=package_uri("0" * 64)))
    with pytest.raises(InvalidPackage, match="expected 000000000000"):
        cache.fetch(PackageRef(digest="0" * 64, uri=ref.uri))
    assert cache.fetch(ref)[0].is_dir()


def test_who_may_read_what(
    api: httpx.Client, digest: str, cache: PackageCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/v1/packages/{digest}"
    assert api.get(f"{path}/manifest.json", headers=bearer("viewer-token")).status_code == 403
    assert api.get(f"{path}/manifest.json", headers={"authorization": ""}).status_code == 401
    (tmp_path / "packages" / "secret").write_text("secret")
    for name in ("%2e%2e%2fsecret", "..%2fsecret", "parts%2f..%2f..%2fsecret", ".hidden", "other/manifest.json"):
        answer = api.get(f"{path}/{name}")
        assert answer.status_code in (400, 404, 422), name
    stray = tmp_path / "packages" / ("a" * 64)
    shutil.copytree(tmp_path / "packages" / digest, stray)  # stored, but no version names it
    assert api.get(f"/v1/packages/{'a' * 64}/manifest.json").status_code == 404
    (tmp_path / "token").write_text("another\n")
    with pytest.raises(OSError, match="answered 401"):
        cache.fetch(PackageRef(digest=digest, uri=package_uri(digest)))
    monkeypatch.delenv("SERINUS_API")
    with pytest.raises(OSError, match="SERINUS_API is not set"):
        cache.fetch(PackageRef(digest=digest, uri=package_uri(digest)))
