"""When a process that runs young versions says that it wants to be replaced."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from serving import memory_bound
from serving.memory_bound import MemoryBound, OutOfBounds

MB = 1 << 20
Take = Callable[[int, int], None]


@pytest.fixture
def take(monkeypatch: pytest.MonkeyPatch) -> Take:
    """take(MB set aside, MB in use) of a process that had 600 and 200 MB at its start; the kernel's limit stays."""
    monkeypatch.setattr(memory_bound.resource, "setrlimit", lambda *_: None)

    def now(aside: int, used: int) -> None:
        monkeypatch.setattr(memory_bound, "data_bytes", lambda: (600 + aside) * MB)
        monkeypatch.setattr(memory_bound, "resident_bytes", lambda: (200 + used) * MB)

    now(0, 0)
    return now


def test_what_is_in_use_is_bounded(take: Take) -> None:
    bound = MemoryBound(400 * MB)
    take(390, 300)
    bound.check()
    take(390, 330)
    with pytest.raises(OutOfBounds, match="330 MB taken, of 400"):
        bound.check()


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("Failed to allocate memory for requested buffer of size 70000000"),
     RuntimeError("std::bad_alloc")],
    ids=lambda error: str(error) or "MemoryError",
)  # fmt: skip
def test_a_refusal_counts_where_an_arena_holds_what_nobody_uses(take: Take, error: Exception) -> None:
    bound = MemoryBound(400 * MB)
    take(230, 20)
    bound.failed(error)
    with pytest.raises(OutOfBounds, match="refused with 230 MB set aside"):
        bound.check()
    bound.check()  # it is not refused for ever


def test_a_call_that_wanted_too_much_harms_nobody(take: Take) -> None:
    bound = MemoryBound(400 * MB)
    take(100, 20)
    bound.failed(MemoryError())
    bound.check()


def test_other_failures_do_not_matter(take: Take) -> None:
    bound = MemoryBound(400 * MB)
    take(390, 20)
    bound.failed(ValueError("an answer that is not finite"))
    bound.check()
