"""Packages come from any store, checked and bounded, and stay here: the store may be gone at the next start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from serinus.errors import InvalidPackage
from serinus.package import read_manifest
from serinus.package_cache import PackageCache
from serinus.package_source import source_of
from serinus.routes import PackageRef

Packages = dict[int, PackageRef]
GIB = 1 << 30


def folder_of(ref: PackageRef) -> Path:
    return Path(ref.uri.removeprefix("file://"))


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def cache(tmp_path: Path) -> PackageCache:
    return PackageCache(tmp_path / "fetched", GIB, set)


def in_memory(ref: PackageRef, name: str) -> PackageRef:
    """The same package in fsspec's store in memory."""
    fsspec.filesystem("memory").put(f"{folder_of(ref)}/", f"/{name}/", recursive=True)
    return PackageRef(digest=ref.digest, uri=f"memory://{name}")


def test_a_package_is_fetched_from_any_store_and_stays_when_the_store_is_gone(
    cache: PackageCache, packages: Packages, tmp_path: Path
) -> None:
    ref = in_memory(packages[1], "store/one")
    folder, manifest = cache.fetch(ref)
    assert folder == tmp_path / "fetched" / ref.digest
    assert read_manifest(folder) == manifest == read_manifest(folder_of(packages[1]))
    fsspec.filesystem("memory").rm("/store", recursive=True)
    assert cache.fetch(ref) == (folder, manifest)
    with pytest.raises(OSError, match="nowhere"):
        cache.fetch(PackageRef(digest=packages[2].digest, uri="memory://nowhere"))


@pytest.mark.parametrize(
    "uri",
    [
        "http://x/y",
        "relative",
        "/absolute",
        "file:relative",
        "file://host/y",
        "file:///a/../b",
        "file:///a/%2e%2e/b",
        "memory://a/../b",
        "simplecache::file:///a",
        "file:///a::zip://b",
        "s3://",
    ],
)
def test_an_address_that_is_no_folder_of_a_store_is_refused(cache: PackageCache, uri: str) -> None:
    with pytest.raises(InvalidPackage, match="expected a folder by file"):
        cache.fetch(PackageRef(digest="0" * 64, uri=uri))


def test_a_store_whose_driver_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(InvalidPackage, match=r"s3:// cannot be read here: .*s3fs"):
        source_of("s3://bucket/package")


@pytest.mark.parametrize("digest", ["../../etc", "AB" * 32, "", "0" * 63])
def test_a_digest_is_never_a_path(cache: PackageCache, digest: str) -> None:
    with pytest.raises(InvalidPackage, match="is no digest"):
        cache.fetch(PackageRef(digest=digest, uri="file:///x"))


def test_what_is_not_what_the_digest_says_is_never_kept(
    cache: PackageCache, packages: Packages, tmp_path: Path
) -> None:
    with pytest.raises(InvalidPackage, match="has digest"):
        cache.fetch(PackageRef(digest=packages[2].digest, uri=packages[1].uri))
    changes: dict[str, Callable[[Path], int]] = {
        "altered": lambda path: path.write_bytes(b"x" + path.read_bytes()[1:]),
        "longer": lambda path: path.write_bytes(path.read_bytes() + b"x" * (1 << 22)),
        "shorter": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    }
    for name, change in changes.items():
        copy = tmp_path / name
        shutil.copytree(folder_of(packages[1]), copy)
        change(copy / "parts" / "late.onnx")
        with pytest.raises(InvalidPackage, match=r"parts/late.onnx was altered"):
            cache.fetch(PackageRef(digest=packages[1].digest, uri=copy.as_uri()))
    assert [path.name for path in (tmp_path / "fetched").iterdir()] == [".locks"]


def test_a_copy_that_was_damaged_is_fetched_again(cache: PackageCache, packages: Packages) -> None:
    folder, _ = cache.fetch(packages[1])
    (folder / "parts" / "late.onnx").write_bytes(b"rubbish")
    assert cache.fetch(packages[1])[0] == folder
    assert read_manifest(folder) == read_manifest(folder_of(packages[1]))


def test_what_no_table_names_goes_first_and_what_they_name_stays(tmp_path: Path, tools: Any) -> None:
    refs = [tools.write_package(tmp_path / str(seed), seed) for seed in range(4)]
    sizes = [size_of(folder_of(ref)) for ref in refs]
    named = {refs[0].digest}
    cache = PackageCache(tmp_path / "fetched", sum(sizes[:3]) + 10, lambda: named)
    for age, ref in enumerate(refs[:3]):
        os.utime(cache.fetch(ref)[0], (1e9 + age, 1e9 + age))
    cache.fetch(refs[3])
    kept = {path.name for path in (tmp_path / "fetched").glob("[0-9a-f]*")}
    assert kept == {refs[at].digest for at in (0, 2, 3)}
    named |= kept
    with pytest.raises(InvalidPackage, match="the packages that are in use"):
        cache.fetch(refs[1])


def test_many_processes_fetch_one_package_into_one_folder(packages: Packages, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from serinus.routes import PackageRef\n"
        "from serinus.package_cache import PackageCache\n"
        "cache = PackageCache(Path(sys.argv[1]), 1 << 30, set)\n"
        "print(cache.fetch(PackageRef(digest=sys.argv[2], uri=sys.argv[3]))[0])"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "fetched"), packages[1].digest, packages[1].uri]
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, env=env) for _ in range(4)]
    assert {process.communicate(timeout=60)[0] for process in running} == {
        f"{tmp_path / 'fetched' / packages[1].digest}\n".encode()
    }
    assert {process.returncode for process in running} == {0}
    read_manifest(tmp_path / "fetched" / packages[1].digest)
