"""The way of shadow copies: a bounded queue that drops the oldest, micro-batches, acknowledgement once recorded."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np

from serving.applied import Applied, Group
from serving.ask import Tensor
from serving.calls import ShadowBatch
from serving.marks import Marks
from serving.throttle import TokenBucket

log = logging.getLogger(__name__)
BATCH_REQUESTS, BATCH_ROWS = 32, 1024
MAX_QUEUED_BYTES = 64 << 20
SENDERS = 2
LINGER_S = 0.2
"""How long a copy waits for others: a call to `Shadow` costs the event loop about as much as an answer does."""
ANSWER_WITHIN_S = 20.0
SendBatch = Callable[[ShadowBatch], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Copy:
    """One request to be scored again. `number`: its entry in the mark."""

    applied: Applied
    groups: tuple[Group, ...]
    inputs: dict[str, Tensor]
    keys: list[tuple[bytes, int, str]]
    slices: list[dict[str, str]]
    number: int

    @property
    def size(self) -> int:
        """Bytes of its inputs, for the bound; a text counts 64."""
        return sum(t.size * 64 if t.dtype.hasobject else t.nbytes for t in self.inputs.values())

    @property
    def model(self) -> str:
        return self.applied.table.model

    @property
    def mixed(self) -> bool:
        """Whether some inputs have one row where others have one for each key (a ranking's)."""
        return any(len(tensor) != len(self.keys) for tensor in self.inputs.values())

    def joins(self, other: Copy) -> bool:
        """Whether both can be scored by one run. A ranking is scored alone: so its entity's part is computed once."""
        return self.applied is other.applied and self.groups is other.groups and not self.mixed and not other.mixed


class ShadowQueue:
    """`send(batch)` has a batch scored and recorded; returns how many rows could not be recorded.

    `rps`: rows a second that are taken, 0: all."""

    def __init__(self, send: SendBatch, marks: Marks, max_copies: int, rps: int = 0) -> None:
        self._send, self._marks, self._max_copies = send, marks, max_copies
        self._bucket = TokenBucket(rps) if rps else None
        self._queue: deque[Copy] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self.dropped = self.failed = self.sent = self.limited = 0

    def __len__(self) -> int:
        return len(self._queue)

    def admits(self, model: str, rows: int) -> bool:
        """Whether the rate limit lets a copy of a request pass; ask before it is made.

        What it keeps out was chosen by the clock alone, whatever the candidate would have answered. So it thins the
        comparison and favours nobody; it has a count of its own, beside that of copies that were lost."""
        if self._bucket is None or self._bucket.take(rows):
            return True
        self.limited += rows
        self._marks.of(model).lost["shadow_limited"] += rows
        return False

    def put(self, copy: Copy) -> None:
        """Queue a copy; when there is no room the oldest are dropped, and counted."""
        self._queue.append(copy)
        self._bytes += copy.size
        while len(self._queue) > self._max_copies or (self._bytes > MAX_QUEUED_BYTES and len(self._queue) > 1):
            oldest = self._take()
            self.dropped += len(oldest.keys)
            self._finish(oldest, "shadow_dropped", len(oldest.keys))
        self._filled.set()

    async def run(self) -> None:
        """Send what is queued, for ever, a few batches at a time."""
        await asyncio.gather(*(self._keep_sending() for _ in range(SENDERS)))

    async def _keep_sending(self) -> None:
        while True:
            while not self._queue:
                self._filled.clear()
                await self._filled.wait()
            if len(self._queue) < BATCH_REQUESTS:
                await asyncio.sleep(LINGER_S)
                if not self._queue:  # the other sender took them
                    continue
            copies = self._next()
            rows = sum(len(copy.keys) for copy in copies)
            try:
                unrecorded = await asyncio.wait_for(self._send(_joined(copies)), ANSWER_WITHIN_S)
            except Exception as error:  # Shadow may die, or the version may raise: neither may stop the others
                log.warning("%d shadow rows of %s failed: %r", rows, copies[0].model, error)
                unrecorded = rows
            self.sent += rows
            self.failed += unrecorded
            for copy in copies:
                self._finish(copy, "shadow_failed", 0)
            if unrecorded:
                self._marks.of(copies[0].model).lost["shadow_failed"] += unrecorded

    def _next(self) -> list[Copy]:
        """The oldest copies that can be scored by one run, in their order."""
        copies = [self._take()]
        rows = len(copies[0].keys)
        while self._queue and len(copies) < BATCH_REQUESTS and self._queue[0].joins(copies[0]):
            rows += len(self._queue[0].keys)
            if rows > BATCH_ROWS:
                break
            copies.append(self._take())
        return copies

    def _take(self) -> Copy:
        copy = self._queue.popleft()
        self._bytes -= copy.size
        return copy

    def _finish(self, copy: Copy, why: str, lost: int) -> None:
        mark = self._marks.of(copy.model)
        mark.end(copy.number)
        if lost:
            mark.lost[why] += lost


def _joined(copies: list[Copy]) -> ShadowBatch:
    first = copies[0]
    inputs = (
        first.inputs
        if len(copies) == 1
        else {name: np.concatenate([copy.inputs[name] for copy in copies]) for name in first.inputs}
    )
    return ShadowBatch(
        model=first.model,
        epoch=first.applied.table.epoch,
        rollout=first.applied.table.rollout or "",
        groups=first.groups,
        inputs=inputs,
        keys=[key for copy in copies for key in copy.keys],
        slices=[row for copy in copies for row in copy.slices],
        share=first.applied.table.serving.log_share,
    )
