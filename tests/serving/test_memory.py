"""What would not fit into memory is refused, in words that say how much is needed and free."""

from __future__ import annotations

from pathlib import Path

import pytest

from serinus.errors import InvalidPackage
from serinus.package import Manifest, read_manifest
from serinus.routes import PackageRef
from serving import memory

MIB = 1 << 20


@pytest.fixture
def manifest(packages: dict[int, PackageRef]) -> Manifest:
    return read_manifest(Path(packages[1].uri.removeprefix("file://")))


def test_a_package_that_says_it_needs_more_than_there_is_is_refused(manifest: Manifest) -> None:
    memory.refuse_if_too_large(manifest, reserve=0)
    huge = manifest.model_copy(update={"resident_bytes": 1 << 50})
    with pytest.raises(InvalidPackage, match=r"needs about 1,073,741,824 MiB of memory; [\d,]+ MiB are free here"):
        memory.refuse_if_too_large(huge, reserve=0)
    with pytest.raises(InvalidPackage, match="1,073,741,824 MiB stay free"):
        memory.refuse_if_too_large(manifest, reserve=1 << 50)


def test_without_a_measurement_the_graphs_count_several_times(manifest: Manifest) -> None:
    graphs = sum(manifest.files[part.file].size_bytes for part in manifest.parts)
    assert memory.needed_bytes(manifest) == 3 * graphs + 8 * MIB


def group(folder: Path, limit: str, used: int, idle: int, version: int = 2) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.max", "memory.current", "inactive_file")
    if version == 1:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\n{names[2]} {idle}\n")


def test_the_tightest_control_group_counts(tmp_path: Path) -> None:
    own, root = tmp_path / "cgroup", tmp_path / "fs"
    own.write_text("0::/pod/serving\n")
    group(root / "pod" / "serving", "max", 900, 0)
    group(root / "pod", "1000", 950, 300)
    assert list(memory._groups(own, root)) == [350]
    own.write_text("5:cpu:/x\n4:memory:/pod/serving\n")
    group(root / "memory" / "pod" / "serving", "500", 480, 0, version=1)
    group(root / "memory" / "pod", "600", 700, 0, version=1)
    assert list(memory._groups(own, root)) == [20, 0]
    own.unlink()
    assert list(memory._groups(own, root)) == []


def test_this_process_knows_its_memory() -> None:
    assert 10 * MIB < memory.resident_bytes() < 1 << 40
    assert memory.free_bytes() > 0
