"""Packages on any store: whole or not there, checked when they come and when they go."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from controller.shelf import shelf_at
from controller.store import PackageStore
from monitors.packages import folder_of
from serinus.errors import InvalidPackage, NotFound, Unavailable
from serinus.package import MANIFEST, digest_of, read_manifest
from serinus.routes import PackageRef


@pytest.fixture(params=["local", "memory"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    (tmp_path / "aside").mkdir()
    where = str(tmp_path / "kept") if request.param == "local" else f"memory://{uuid.uuid4().hex}/packages"
    return shelf_at(where, tmp_path / "aside")


@pytest.fixture
def sent(tmp_path: Path, build: Callable[..., Path]) -> Callable[[str], tuple[Path, str]]:
    """A copy of the package with that note, which a shelf may move away, and its digest."""

    def make(note: str) -> tuple[Path, str]:
        original = tmp_path / f"original-{note}"
        if not original.exists():
            build(original, "click", note=note)
        copy = tmp_path / f"copy-{uuid.uuid4().hex}"
        shutil.copytree(original, copy)
        return copy, digest_of(copy)

    return make


def fetched(shelf: Any, digest: str, tmp_path: Path) -> Path:
    folder = tmp_path / f"fetched-{uuid.uuid4().hex}"
    folder.mkdir()
    shelf.fetch(digest, folder)
    return folder


def test_what_is_kept_comes_back_until_it_is_removed(shelf: Any, sent: Any, tmp_path: Path) -> None:
    digests = set()
    for note in ("a", "b", "a"):
        folder, digest = sent(note)
        shelf.keep(folder, digest)
        digests.add(digest)
        assert shelf.digests() == digests
    for digest in digests:
        folder = fetched(shelf, digest, tmp_path)
        assert read_manifest(folder)
        assert digest_of(folder) == digest
    gone = min(digests)
    for _ in range(2):
        shelf.remove(gone)
    assert shelf.digests() == digests - {gone}
    with pytest.raises((NotFound, Unavailable)):
        fetched(shelf, gone, tmp_path)


@pytest.mark.parametrize("damage", ["altered", "missing", "no manifest"])
def test_what_was_damaged_is_not_given_out_and_mended_by_the_next_push(
    shelf: Any, sent: Any, tmp_path: Path, damage: str
) -> None:
    folder, digest = sent("a")
    shelf.keep(folder, digest)
    files, root = fsspec.core.url_to_fs(shelf.uri(digest))
    victim = f"{root}/{MANIFEST if damage == 'no manifest' else 'parts/click.onnx'}"
    if damage == "altered":
        files.pipe_file(victim, b"something else")
    else:
        files.rm_file(victim)
    with pytest.raises((InvalidPackage, NotFound, Unavailable)):
        fetched(shelf, digest, tmp_path)
    shelf.keep(*sent("a"))
    assert read_manifest(fetched(shelf, digest, tmp_path))


def test_a_store_that_is_away_says_so(tmp_path: Path, sent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf: Any = shelf_at(f"memory://{uuid.uuid4().hex}", tmp_path)

    def fails(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route to the store")

    monkeypatch.setattr(type(shelf.files), "put_file", fails)
    with pytest.raises(Unavailable, match="no route"):
        shelf.keep(*sent("a"))
    monkeypatch.undo()
    shelf.keep(*sent("a"))
    assert len(shelf.digests()) == 1


@pytest.mark.parametrize(
    "uri", ["http://somewhere/x", "memory://a/../b", "simplecache::memory://a", "zip://a::file://b"]
)
def test_what_is_no_store_is_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidPackage):
        PackageStore(uri, tmp_path)


def test_monitors_read_packages_from_a_store_through_copies_that_they_check(
    sent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERINUS_PACKAGE_CACHE", str(tmp_path / "copies"))
    store = PackageStore(f"memory://{uuid.uuid4().hex}", tmp_path / "work")
    folder, digest = sent("a")
    store.shelf.keep(folder, digest)
    ref = PackageRef(digest=digest, uri=store.uri(digest))
    copy = folder_of(ref)
    assert copy.is_relative_to(tmp_path / "copies")
    (copy / "sample.json").write_text("{}")
    assert read_manifest(folder_of(ref))
    store.shelf.remove(digest)
    assert digest_of(folder_of(ref)) == digest
