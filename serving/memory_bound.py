"""A bound on the memory of a process that runs young versions: what leaks or devours there must not take the machine.

The kernel refuses what would go beyond it, so that a call fails instead of the machine; and well before that the
process says that it is not healthy, so that a fresh one takes its place."""

from __future__ import annotations

import resource
from pathlib import Path

from serving.memory import free_bytes

UNHEALTHY_SHARE, CRAMPED_SHARE = 0.8, 0.5
LEAST_BYTES = 64 << 20
REFUSED = ("failed to allocate", "bad_alloc", "bad allocation", "cannot allocate")
"""What ONNX Runtime and the C++ library say, in lower case, when the kernel gives no memory."""


class OutOfBounds(RuntimeError):
    """This process has taken nearly all that it may."""


class MemoryBound:
    """`allowed_bytes`: what may be taken beyond what this process has when this is made; 0: half of what is free then.

    RLIMIT_DATA counts what is private and writable, touched or not. A limit that is lower already stays."""

    def __init__(self, allowed_bytes: int = 0) -> None:
        self._allowed = max(LEAST_BYTES, allowed_bytes or free_bytes() // 2)
        self._at_start, self._data_at_start = resident_bytes(), data_bytes()
        self._refused = False
        wanted = self._data_at_start + self._allowed
        _soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard < 0 else min(wanted, hard), hard))

    def failed(self, error: Exception) -> None:
        """A call failed. Only whether memory was refused matters here."""
        if isinstance(error, MemoryError) or any(words in str(error).lower() for words in REFUSED):
            self._refused = True

    def check(self) -> None:
        """Raises OutOfBounds when it is time for a fresh process.

        An arena sets more aside than it uses: what is in use may stay low for ever while every call is refused. So a
        refusal counts too, unless there was plenty of room: then it was the call that wanted too much."""
        refused, self._refused = self._refused, False
        held = data_bytes() - self._data_at_start
        if refused and held > CRAMPED_SHARE * self._allowed:
            raise OutOfBounds(
                f"memory was refused with {held >> 20} MB set aside, of {self._allowed >> 20} MB that are allowed"
            )
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
