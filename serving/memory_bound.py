"""A bound on the memory of a process that runs young versions: what leaks or devours there must not take the machine.

The kernel refuses what would go beyond it, so that a call fails instead of the machine; and well before that the
process says that it is not healthy, so that a fresh one takes its place."""

from __future__ import annotations

import resource
from pathlib import Path

from serving.memory import free_bytes

UNHEALTHY_SHARE = 0.8
LEAST_BYTES = 64 << 20


class OutOfBounds(RuntimeError):
    """This process has taken nearly all that it may."""


class MemoryBound:
    """`allowed_bytes`: what may be taken beyond what this process has when this is made; 0: half of what is free then.

    RLIMIT_DATA counts what is private and writable, touched or not. A limit that is lower already stays."""

    def __init__(self, allowed_bytes: int = 0) -> None:
        self._allowed = max(LEAST_BYTES, allowed_bytes or free_bytes() // 2)
        self._at_start = resident_bytes()
        wanted = data_bytes() + self._allowed
        _soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard < 0 else min(wanted, hard), hard))

    def check(self) -> None:
        """Raises OutOfBounds when it is time for a fresh process."""
        taken = resident_bytes() - self._at_start
        if taken > UNHEALTHY_SHARE * self._allowed:
            raise OutOfBounds(f"{taken >> 20} MB taken, of {self._allowed >> 20} MB that are allowed")


def data_bytes() -> int:
    """Private writable memory of this process, as RLIMIT_DATA counts it."""
    return _status("VmData")


def resident_bytes() -> int:
    """Private memory of this process that is in use: files that are mapped do not count."""
    return _status("RssAnon")


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    raise OSError(f"/proc/self/status has no {name}")
