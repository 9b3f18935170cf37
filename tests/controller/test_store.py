"""Packages are stored whole or not at all, whatever is in the tar."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controller.inspection import inspect
from controller.store import PackageStore
from controller.unpack import unpack
from serinus.errors import InvalidPackage, SerinusError, TooLarge


def tar(*members: tuple[tarfile.TarInfo, bytes], **options: Any) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", **options) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return held.getvalue()


def member(name: str, content: bytes = b"{}", **changes: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in changes.items():
        setattr(info, field, value)
    return info, content


MANIFEST = member("manifest.json")
LONG = {"pax_headers": {"comment": "x" * (5 << 20)}, "format": tarfile.PAX_FORMAT}
BAD = {
    "absolute": (tar(MANIFEST, member("/etc/passwd")), "expected a path"),
    "parent": (tar(MANIFEST, member("parts/../../evil")), "expected a path"),
    "dotdot": (tar(MANIFEST, member("..")), "expected a path"),
    "other folder": (tar(MANIFEST, member("other/x.onnx")), "expected a path"),
    "hidden": (tar(MANIFEST, member(".bashrc")), "expected a path"),
    "symlink": (tar(MANIFEST, member("parts", b"", type=tarfile.SYMTYPE, linkname="/tmp")), "links"),
    "hard link": (tar(MANIFEST, member("a", b"", type=tarfile.LNKTYPE, linkname="manifest.json")), "links"),
    "device": (tar(MANIFEST, member("a", b"", type=tarfile.CHRTYPE)), "only plain files"),
    "fifo": (tar(MANIFEST, member("a", b"", type=tarfile.FIFOTYPE)), "only plain files"),
    "twice": (tar(MANIFEST, MANIFEST), "twice"),
    "many": (tar(MANIFEST, *(member(f"f{n}") for n in range(256))), "more than 256 files"),
    "no manifest": (tar(member("parts/a.onnx")), "manifest.json is missing"),
    "not a tar": (b"PK\x03\x04 this is a zip" * 100, "uncompressed tar"),
    "empty": (b"", "uncompressed tar"),
    "cut off": (tar(MANIFEST, member("a", b"x" * 100_000))[:50_000], "ends before|uncompressed tar|unexpected"),
    "huge header": (tar(MANIFEST, **LONG), "absurd size"),
}


@pytest.mark.parametrize("which", BAD)
def test_a_hostile_tar_is_refused_and_leaves_nothing(tmp_path: Path, which: str) -> None:
    content, why = BAD[which]
    store = PackageStore(tmp_path / "packages")
    with store.workspace() as work:
        (work / "upload.tar").write_bytes(content)
        with pytest.raises(InvalidPackage, match=why):
            store.add(work, lambda manifest: None)
    assert [path.name for path in store.root.rglob("*")] == [".incoming"]
    assert [path.name for path in tmp_path.iterdir()] == ["packages"]


def test_a_package_that_grows_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(tar(MANIFEST, member("a", b"x" * 600), member("b", b"x" * 600)))
    (tmp_path / "out").mkdir()
    with pytest.raises(TooLarge, match="1000 bytes"):
        unpack(tmp_path / "x.tar", tmp_path / "out", max_bytes=1000)


def test_a_sound_package_is_stored_under_its_digest_and_again_is_fine(
    tmp_path: Path, build: Callable[..., Path], tar_of: Callable[[Path], bytes]
) -> None:
    store, sent = PackageStore(tmp_path / "packages"), build(tmp_path / "sent", "click", "buy")
    digests = []
    for _ in range(2):
        with store.workspace() as work:
            (work / "upload.tar").write_bytes(tar_of(sent))
            digest, manifest = store.add(work, lambda found: None)
            digests.append(digest)
    assert digests[0] == digests[1]
    assert manifest.task_names == ("click", "buy")
    kept = Path(store.uri(digest).removeprefix("file://"))
    files = {path.relative_to(kept): path.read_bytes() for path in kept.rglob("*") if path.is_file()}
    assert files == {p.relative_to(sent): p.read_bytes() for p in sent.rglob("*") if p.is_file()}
    assert sorted(path.name for path in store.root.iterdir()) == sorted([".incoming", digest])
    assert list(store.incoming.iterdir()) == []


def test_what_the_registry_does_not_accept_is_not_stored(
    tmp_path: Path, build: Callable[..., Path], tar_of: Callable[[Path], bytes]
) -> None:
    def refuse(manifest: object) -> None:
        raise InvalidPackage("the SLA names another task")

    store = PackageStore(tmp_path / "packages")
    with store.workspace() as work:
        (work / "upload.tar").write_bytes(tar_of(build(tmp_path / "sent", "click")))
        with pytest.raises(InvalidPackage, match="another task"):
            store.add(work, refuse)
    assert [path.name for path in store.root.rglob("*")] == [".incoming"]


@pytest.mark.parametrize(
    ("timeout_s", "memory_bytes", "why"), [(0.01, 8 << 30, "longer than"), (60, 64 << 20, "memory")]
)
def test_an_inspection_without_time_or_memory_is_a_refusal(
    tmp_path: Path, build: Callable[..., Path], timeout_s: float, memory_bytes: int, why: str
) -> None:
    with pytest.raises(SerinusError, match=why):
        inspect(build(tmp_path / "sent", "click"), timeout_s, memory_bytes)


def test_only_the_uploads_of_the_dead_are_swept(tmp_path: Path) -> None:
    store = PackageStore(tmp_path / "packages")
    dead = store.incoming / "dead"
    dead.mkdir()
    (dead / "upload.tar").write_bytes(b"half of it")
    with store.workspace() as work:
        store.sweep()
        assert [path.name for path in store.incoming.iterdir()] == [work.name]
