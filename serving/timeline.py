"""What took how long while one request was answered, for the few requests of which somebody wants to know."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["Stretch", "Timeline", "current"]

Fact = str | int


class Stretch(NamedTuple):
    """One part of the way. Times are those of `time.perf_counter_ns`."""

    name: str
    began_ns: int
    ended_ns: int
    facts: dict[str, Fact] = {}


@dataclass(slots=True)
class Timeline:
    """`trace`: id of the trace that it becomes a part of, 32 hex digits. `facts`: of the request as a whole."""

    trace: str
    stretches: list[Stretch] = field(default_factory=list)
    facts: dict[str, Fact] = field(default_factory=dict)


current: ContextVar[Timeline | None] = ContextVar("timeline", default=None)
"""Of the request that this task answers; None for almost all of them."""
