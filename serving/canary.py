"""The canary arm's answers. A young candidate is asked in a process of its own: bounded in time and number, behind a
breaker. Above 10 % of the traffic it has proven itself, and a call would cost more than it protects: the front door
runs it itself, and goes back to asking that process when this goes wrong. Where the candidate fails, stable answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from serinus.routes import NEAR_ABOVE_BP
from serving.applied import Applied, Group
from serving.ask import Ask, Output, Tensor
from serving.timeline import Fact, Stretch, current

log = logging.getLogger(__name__)
Call = Callable[[dict[str, Tensor], tuple[Group, ...], str], Awaitable[list[Output]]]
TRIPS_AFTER = 5
REST_S = 1.0
NEAR_REST_S, MAX_NEAR_REST_S = 10.0, 600.0
"""A try in the front door delays whoever waits there, so it is made less often than one in the candidate's process,
and each time that it fails only after twice the time."""
MAX_REMEMBERED = 256


class _Breaker:
    """After 5 failures in a row it opens for `rest_s`; then one call probes while the others stay away.

    A probe that fails doubles the rest, up to `max_rest_s`."""

    def __init__(self, rest_s: float, max_rest_s: float) -> None:
        self._first_rest_s = self._rest_s = rest_s
        self._max_rest_s = max_rest_s
        self._failures = 0
        self._open_until = 0.0

    def lets_through(self) -> bool:
        """Whether a call may be made now. The first one after the rest is the probe."""
        now = time.monotonic()
        if now < self._open_until:
            return False
        if self._failures >= TRIPS_AFTER:
            self._open_until = now + self._rest_s
        return True

    def succeeded(self) -> None:
        self._failures, self._open_until, self._rest_s = 0, 0.0, self._first_rest_s

    def failed(self, weight: int = 1) -> bool:
        """Returns whether it opens by this failure, having been closed."""
        before, self._failures = self._failures, self._failures + weight
        if self._failures < TRIPS_AFTER:
            return False
        if before >= TRIPS_AFTER:
            self._rest_s = min(2 * self._rest_s, self._max_rest_s)
        self._open_until = max(self._open_until, time.monotonic() + self._rest_s)
        return before < TRIPS_AFTER


_Breakers = OrderedDict[tuple[str, ...], _Breaker]
"""By the digests of the versions that are asked."""


class CanaryCaller:
    """`call(inputs, groups, entity)` asks the candidate's process. Breakers are each version's own, so that one bad
    candidate of many models is left alone, not all; the bound on calls in flight is for all of them."""

    def __init__(self, call: Call, deadline_s: float, in_flight: int) -> None:
        self._call, self._deadline_s, self._limit = call, deadline_s, in_flight
        self._in_flight = self._most_in_flight = 0
        self._far: _Breakers = OrderedDict()
        self._near: _Breakers = OrderedDict()
        self.calls = self.opened = self.fallbacks = 0

    def status(self) -> dict[str, int]:
        """Calls made and given up since the start, how many waited at once, how often a breaker opened."""
        return {
            "calls": self.calls,
            "fallbacks": self.fallbacks,
            "opened": self.opened,
            "in_flight": self._in_flight,
            "most_in_flight": self._most_in_flight,
            "limit": self._limit,
        }

    async def outputs(
        self, inputs: dict[str, Tensor], groups: tuple[Group, ...], entity: str = "", deadline_ns: int | None = None
    ) -> list[Output] | None:
        """The candidate's outputs, or None when stable must answer instead.

        A request that has less time than candidates get waits for half of what is left, the rest is stable's."""
        patience_s = self._deadline_s
        if deadline_ns is not None:
            patience_s = min(patience_s, (deadline_ns - time.perf_counter_ns()) / 2e9)
        found = await self._try(inputs, groups, entity, patience_s)
        self.fallbacks += found is None
        return found

    async def _try(
        self, inputs: dict[str, Tensor], groups: tuple[Group, ...], entity: str, patience_s: float
    ) -> list[Output] | None:
        breaker = _of(self._far, groups, REST_S, REST_S)
        if self._in_flight >= self._limit or not breaker.lets_through():
            return None
        self.calls += 1
        self._in_flight += 1
        self._most_in_flight = max(self._most_in_flight, self._in_flight)
        try:
            found = await asyncio.wait_for(self._call(inputs, groups, entity), patience_s)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # whatever goes wrong over there, stable answers
            hurried = patience_s < self._deadline_s and isinstance(error, TimeoutError)
            self._failed(breaker, groups, error, 0 if hurried else 1)  # callers in a hurry must not trip it
            return None
        finally:
            self._in_flight -= 1
        breaker.succeeded()
        return found

    def near(
        self, applied: Applied, inputs: dict[str, Tensor], groups: tuple[Group, ...], entity: str = ""
    ) -> list[Output] | None:
        """The candidate's outputs, computed in this process, or None when its process must be asked instead.

        One run that takes longer than the deadline is enough: everybody else here waits for it."""
        breaker = _of(self._near, groups, NEAR_REST_S, MAX_NEAR_REST_S)
        if not breaker.lets_through():
            return None
        began = time.monotonic()
        deadline_ns = time.perf_counter_ns() + int(self._deadline_s * 1e9)
        try:
            found = applied.run(inputs, groups, entity, deadline_ns, trunk_must_run=True)
        except Exception as error:  # whatever its graphs do, somebody else answers
            late = time.monotonic() - began > self._deadline_s
            self._failed(breaker, groups, error, TRIPS_AFTER if late else 1)
            return None
        if (took_s := time.monotonic() - began) > self._deadline_s:
            self._failed(breaker, groups, TimeoutError(f"it took {took_s:.3f} s"), TRIPS_AFTER)
            return found
        breaker.succeeded()
        return found

    def _failed(self, breaker: _Breaker, groups: tuple[Group, ...], error: Exception, weight: int = 1) -> None:
        if breaker.failed(weight):
            self.opened += 1
            versions = sorted({group.version for group in groups})
            log.warning("version %s, a candidate, is left alone for a while: %r", versions, error)


def _of(kept: _Breakers, groups: tuple[Group, ...], rest_s: float, max_rest_s: float) -> _Breaker:
    key = tuple(group.digest for group in groups)
    breaker = kept.get(key)
    if breaker is None:
        breaker = kept[key] = _Breaker(rest_s, max_rest_s)
        while len(kept) > MAX_REMEMBERED:
            kept.popitem(last=False)
    return breaker


async def canary_outputs(
    caller: CanaryCaller, applied: Applied, ask: Ask, deadline_ns: int | None = None
) -> list[Output]:
    """The candidate's outputs; where it fails, stable's, that count as the candidate's: intention to treat.

    Tasks that the candidate's side does not have are stable's in any case."""
    groups = applied.groups("candidate", ask.tasks)
    meant = {task: group.version for group in groups for task in group.tasks}
    found: list[Output] | None = []
    if groups and applied.table.canary_bp > NEAR_ABOVE_BP:
        found = caller.near(applied, ask.inputs, groups, ask.entity)
    if groups and not found:
        began_ns = time.perf_counter_ns()
        found = await caller.outputs(ask.inputs, groups, ask.entity, deadline_ns)
        if (timeline := current.get()) is not None:
            facts: dict[str, Fact] = {} if found is not None else {"serinus.fallback": "stable"}
            timeline.stretches.append(Stretch("candidate", began_ns, time.perf_counter_ns(), facts))
    rest = tuple(task for task in ask.tasks or applied.tasks if found is None or task not in meant)
    if not rest:
        return found or []
    stable = applied.run(ask.inputs, applied.groups("stable", rest), ask.entity, deadline_ns)
    stood_in = [Output(o.task, o.values, meant[o.task], "stable") if o.task in meant else o for o in stable]
    return [*(found or []), *stood_in]
