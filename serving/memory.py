"""How much memory this process may still take, and what a package would: too much is refused before it is loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psutil

from serinus.errors import InvalidPackage
from serinus.package import Manifest

FACTOR = 3
"""While it loads, ONNX Runtime holds a graph's file, its constants and their packed copies."""
BASE_BYTES = 8 << 20
MIB = 1 << 20


def needed_bytes(manifest: Manifest) -> int:
    """What a package takes once loaded: as measured when it was made, else by the size of its graphs."""
    if manifest.resident_bytes is not None:
        return manifest.resident_bytes
    files = {part.file for part in manifest.parts}
    return BASE_BYTES + FACTOR * sum(manifest.files[name].size_bytes for name in files)


def free_bytes() -> int:
    """What may still be taken: of the machine, and of every control group that this process is in."""
    return min([psutil.virtual_memory().available, *_groups(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))])


def resident_bytes() -> int:
    """The memory of this process."""
    return int(psutil.Process().memory_info().rss)


def refuse_if_too_large(manifest: Manifest, reserve: int) -> None:
    """Raise InvalidPackage when loading it would leave less than `reserve` bytes."""
    needed, free = needed_bytes(manifest), free_bytes()
    if needed > free - reserve:
        raise InvalidPackage(
            f"it needs about {_mib(needed)} of memory; {_mib(free)} are free here, of which {_mib(reserve)} stay free",
            "give the pool more memory, or serve fewer versions in it",
        )


def _mib(count: int) -> str:
    return f"{count / MIB:,.0f} MiB"


def _groups(own: Path, root: Path) -> Iterator[int]:
    """Bytes left in each control group with a limit, of version 2 or 1, from the process's own up to the root.

    Pages of files that nobody has used lately count as free: the kernel takes them back by itself."""
    with contextlib.suppress(OSError):
        for line in own.read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0":
                top, names = root, ("memory.max", "memory.current", "inactive_file")
            elif "memory" in controllers.split(","):
                top = root / "memory"
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            else:
                continue
            inner = top / path.lstrip("/")
            for folder in (inner, *inner.parents):
                with contextlib.suppress(OSError, ValueError, KeyError):  # without a limit ("max"), or not ours to see
                    yield _left(folder, *names)
                if folder == top:
                    break


def _left(folder: Path, limit: str, usage: str, idle: str) -> int:
    most, used = int((folder / limit).read_text()), int((folder / usage).read_text())
    stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    return max(0, most - used + int(stat[idle]))
