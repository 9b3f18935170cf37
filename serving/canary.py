"""The canary arm's answers. A young candidate is asked in a process of its own: bounded in time and number, behind a
breaker. Above 10 % of the traffic it has proven itself, and a call would cost more than it protects: the front door
runs it itself. Where the candidate fails, stable answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from serving.applied import Applied, Group
from serving.ask import Ask, Output, Tensor

log = logging.getLogger(__name__)
Call = Callable[[dict[str, Tensor], tuple[Group, ...]], Awaitable[list[Output]]]
NEAR_ABOVE_BP = 1_000
TRIPS_AFTER = 5
REST_S = 1.0


class CanaryCaller:
    """`call(inputs, groups)` asks the candidate. After 5 failures in a row it rests a second, then one call probes."""

    def __init__(self, call: Call, deadline_s: float, in_flight: int) -> None:
        self._call, self._deadline_s, self._limit = call, deadline_s, in_flight
        self._in_flight = self._failures = 0
        self._resting_until = 0.0
        self.fallbacks = 0

    async def outputs(self, inputs: dict[str, Tensor], groups: tuple[Group, ...]) -> list[Output] | None:
        """The candidate's outputs, or None when stable must answer instead."""
        found = await self._try(inputs, groups)
        self.fallbacks += found is None
        return found

    async def _try(self, inputs: dict[str, Tensor], groups: tuple[Group, ...]) -> list[Output] | None:
        if self._in_flight >= self._limit or time.monotonic() < self._resting_until:
            return None
        if self._failures >= TRIPS_AFTER:
            self._resting_until = time.monotonic() + REST_S  # whoever comes while this call probes does not wait
        self._in_flight += 1
        try:
            found = await asyncio.wait_for(self._call(inputs, groups), self._deadline_s)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # whatever goes wrong over there, stable answers
            self._failures += 1
            if self._failures == TRIPS_AFTER:
                self._resting_until = time.monotonic() + REST_S
                log.warning("the candidate failed %d times in a row: %r", TRIPS_AFTER, error)
            return None
        finally:
            self._in_flight -= 1
        self._failures, self._resting_until = 0, 0.0
        return found

    def near(self, applied: Applied, inputs: dict[str, Tensor], groups: tuple[Group, ...]) -> list[Output] | None:
        """The candidate's outputs, computed in this process, or None when stable must answer instead."""
        try:
            return applied.run(inputs, groups)
        except Exception as error:  # whatever its graphs do, stable answers
            self.fallbacks += 1
            log.warning("the candidate failed in the front door: %r", error)
            return None


async def canary_outputs(caller: CanaryCaller, applied: Applied, ask: Ask) -> list[Output]:
    """The candidate's outputs; where it fails, stable's, that count as the candidate's: intention to treat.

    Tasks that the candidate's side does not have are stable's in any case."""
    groups = applied.groups("candidate", ask.tasks)
    meant = {task: group.version for group in groups for task in group.tasks}
    found: list[Output] | None = []
    if groups and applied.table.canary_bp > NEAR_ABOVE_BP:
        found = caller.near(applied, ask.inputs, groups)
    elif groups:
        found = await caller.outputs(ask.inputs, groups)
    rest = tuple(task for task in ask.tasks or applied.tasks if found is None or task not in meant)
    if not rest:
        return found or []
    stable = applied.run(ask.inputs, applied.groups("stable", rest))
    stood_in = [Output(o.task, o.values, meant[o.task], "stable") if o.task in meant else o for o in stable]
    return [*(found or []), *stood_in]
