"""Starts the rollouts when the story wants them, tells what happens, and paces the replay by the evidence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rich.console import Console

from examples.flights.replay import HOUR_MS, Hour
from examples.flights.story import on
from serinus.client import Client
from serinus.rollouts import ENDS, Phase, RolloutView

__all__ = ["Act", "Director", "Timeline"]

QUIET_HOURS = 24
"""Hours of stable traffic before the first rollout."""
AFTER_HOURS = 6
LAG_MS = 12 * HOUR_MS
STALL_S = 120.0


@dataclass
class Timeline:
    """What happened, printed as it happens and kept for the report."""

    console: Console
    began: float = field(default_factory=time.monotonic)
    lines: list[str] = field(default_factory=list)

    def say(self, text: str, style: str = "") -> None:
        stamp = f"{time.monotonic() - self.began:6.1f} s  "
        for at, line in enumerate(text.splitlines()):
            self.lines.append((stamp if at == 0 else " " * len(stamp)) + line)
            self.console.print(self.lines[-1], style=style, highlight=False, markup=False, soft_wrap=True)


@dataclass(frozen=True)
class Act:
    """A rollout of the story: the version, and the reason that is given for it."""

    version: int
    reason: str


Watcher = Callable[[Hour, RolloutView | None], None]


class Director:
    """Plays `acts` one after the other, each once the one before it was promoted; `watch` is called after each hour."""

    def __init__(self, client: Client, model: str, acts: Sequence[Act], timeline: Timeline, watch: Watcher) -> None:
        self.client, self.model, self.acts, self.timeline, self.watch = client, model, acts, timeline, watch
        self.rollouts: list[str] = []
        self.told: dict[str, int] = {}
        self.hours = self.hours_after = 0

    async def gate(self, hour: Hour) -> bool:
        """True while the story goes on. Waits until the evidence is at most `LAG_MS` of event time behind."""
        return await asyncio.to_thread(self._gate, hour)

    def _gate(self, hour: Hour) -> bool:
        self.hours += 1
        current = self._current()
        ended = current is not None and current.phase in ENDS
        going_on = current is None or current.phase == Phase.DONE
        if going_on and self.hours >= QUIET_HOURS and len(self.rollouts) < len(self.acts):
            self._begin(self.acts[len(self.rollouts)])
        elif ended:
            self.hours_after += 1
        self.watch(hour, self._follow(hour.start_ms + HOUR_MS))
        return self.hours_after < AFTER_HOURS

    def _current(self) -> RolloutView | None:
        return self.client.rollout(self.rollouts[-1]) if self.rollouts else None

    def _begin(self, act: Act) -> None:
        view = self.client.rollout_start(self.model, act.version, reason=act.reason)
        self.rollouts.append(view.id)
        self.told[view.id] = 0

    def _follow(self, sent_ms: int) -> RolloutView | None:
        """Tell what moved, once the evidence has come near `sent_ms`. The rollout as it then is."""
        if not self.rollouts:
            return None
        view = self.client.evidence_wait(self.rollouts[-1], sent_ms - LAG_MS, STALL_S)
        self._tell(view)
        return view

    def _tell(self, view: RolloutView) -> None:
        for move in view.history[self.told[view.id] :]:
            self.timeline.say(f"{on(move.event_ms)}  version {view.candidate} {move.to.value}: {move.why}")
        self.told[view.id] = len(view.history)
