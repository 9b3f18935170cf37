"""Which part of the rows is one shard's: by the event time that the request id carries, in blocks of whole minutes.

All rows of a request (both versions', labels) carry its id, so they are in one part, and so are all answers that a user
was given in one minute. Rows lie on disk in about the order of time, so a shard reads about its own part of a file;
by a hash of the whole id every shard would have to read all of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Portion:
    """Part `number` of `of`; `block_ms`: a whole number of minutes, of which every `of`-th is in it."""

    number: int
    of: int
    block_ms: int = MINUTE_MS

    @classmethod
    def split(cls, of: int, tick_s: int) -> list[Portion]:
        """The parts, about equal in each tick of that length. Raises ValueError when there is to be none."""
        if of < 1:
            raise ValueError(f"{of} parts")
        block_ms = max(1, tick_s * 1000 // (of * MINUTE_MS)) * MINUTE_MS
        return [cls(number, of, block_ms) for number in range(of)]

    def holds(self, event_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which event times (Unix ms) are in it."""
        return np.asarray(event_ms // self.block_ms % self.of == self.number)

    def meets(self, first_ms: int, last_ms: int) -> bool:
        """Whether any of the times from the first to the last, both included, is in it."""
        first, last = first_ms // self.block_ms, last_ms // self.block_ms
        return last - first + 1 >= self.of or (self.number - first) % self.of <= last - first


ALL = Portion(0, 1)
