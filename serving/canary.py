"""Calls of the candidate that can never hurt stable: bounded in time and number, behind a breaker."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from serving.applied import Group
from serving.protocol import Output, Tensor

log = logging.getLogger(__name__)
Call = Callable[[dict[str, Tensor], tuple[Group, ...]], Awaitable[list[Output]]]
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
