"""A good rollout promoted and a bad one rolled back by `kubectl apply` alone, pods being lost meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiohttp

from examples.flights.director import AFTER_HOURS, LAG_MS, QUIET_HOURS
from examples.flights.replay import HOUR_MS, Hour, Replay
from serinus.errors import SerinusError
from serinus.package import digest_of
from serinus.rollouts import ENDS, Phase, RolloutView
from tests.kube_e2e.cluster import Cluster, until
from tests.kube_e2e.install import delete_pod, is_ready, serinus
from tests.kube_e2e.serving import FLIGHTS, POOL, Served, by_name
from tests.kube_e2e.story import Story

__all__ = ["roll", "served"]

AWAY_S = 180.0
"""So long the controller may be away: its pod is deleted, too."""
PLAN = {
    "shadow_hold_s": 86_400,
    "steps": [{"canary_bp": 1_000, "hold_s": 43_200}, {"canary_bp": 5_000, "hold_s": 43_200}],
    "cycle_s": 4 * 86_400,
    "bake_s": 43_200,
}
COMPONENT, ROLE = "app.kubernetes.io/component={}", f"serinus.dev/pool={POOL},serinus.dev/role={{}}"
AT: dict[Phase, tuple[tuple[str, str], ...]] = {
    Phase.SHADOW: (("operator", COMPONENT.format("operator")),),
    Phase.CANARY: (("controller", COMPONENT.format("controller")),),
    Phase.RAMP: (("front door", ROLE.format("front-door")), ("candidate", ROLE.format("candidate"))),
}
"""In which phase of the first rollout which pods are deleted."""


def served(story: Story, it: Served) -> None:
    """The steps, each after those that it rests on."""
    flights = it.hours()
    lost = Losses(it)
    story.step("flights models trained", it.train)
    story.step("a pool by kubectl apply", it.pool, after=("operator ready",))
    story.step(
        "a new model, to its first answer", it.answers, after=("a pool by kubectl apply", "flights models trained")
    )
    story.step("an open loop of requests", it.begin_load, after=("a new model, to its first answer",))
    began = ("an open loop of requests",)
    story.step("a good rollout by kubectl apply, pods lost", lambda: _promoted(it, flights, lost), after=began)
    for line in lost.told:
        story.step(line.partition(":")[0] + " deleted", lambda line=line: line.partition(": ")[2])  # type: ignore[misc]
    story.step("a bad rollout by kubectl apply", lambda: _rolled_back(it, flights), after=began)
    story.step("memory of each pod", it.memory, after=began)
    story.step("the open loop, from its first request to its last", it.end_load, after=began)


def _promoted(it: Served, flights: Iterator[Hour], lost: Losses) -> str:
    view, replay = roll(it, flights, 2, lost)
    assert view.phase is Phase.DONE, f"{view.phase}: {view.history[-1].why}"
    shown = it.cluster.get("ro", "flights-2")["status"]
    assert shown["phase"] == "done", shown
    assert lost.done >= AT.keys(), lost.done
    return (
        f"done; {replay.tally.failed} of {replay.tally.sent} replayed requests failed {replay.tally.errors[:2] or ''}"
    )


def _rolled_back(it: Served, flights: Iterator[Hour]) -> str:
    view, replay = roll(it, flights, 3, None)
    assert view.phase is Phase.ROLLED_BACK, f"{view.phase}: {view.history[-1].why}"
    shown = until("its status", 60, lambda: _ended(it.cluster))
    assert shown["violated"], shown
    assert not replay.tally.failed, replay.tally.errors
    named = [each for each in shown["violated"] if not each.endswith(("failures", "latency"))]
    assert named, shown["violated"]
    return f"rolled back in {view.history[-1].start.value} for {named[0]}; 0 of {replay.tally.sent} failed"


def _ended(cluster: Cluster) -> dict[str, Any] | None:
    status: dict[str, Any] = cluster.get("ro", "flights-3")["status"]
    return status if status.get("phase") == "rolled_back" else None


class Follower(Protocol):
    """Does something to the cluster in some phases of a rollout, while the replay waits for it."""

    def follow(self, phase: Phase) -> None: ...


@dataclass
class Losses:
    """`told`: a line for each pod that was deleted. `shares`: phases in which somebody was on the candidate."""

    served: Served
    told: list[str] = field(default_factory=list)
    done: set[Phase] = field(default_factory=set)

    def follow(self, phase: Phase) -> None:
        if phase in self.done:
            return
        self.done.add(phase)
        for what, selector in AT.get(phase, ()):
            began, load = time.monotonic(), self.served.load
            assert load is not None
            since = len(load.outcomes)
            name = delete_pod(self.served.cluster, selector)
            until(f"another {what}", 240, lambda name=name, selector=selector: self._another(selector, name))  # type: ignore[misc]
            load.more(20)
            took = time.monotonic() - began
            self.told.append(f"{what} in {phase.value}: {self.served.loss(since)}, another ready after {took:.1f} s")

    def _another(self, selector: str, gone: str) -> bool:
        pods = self.served.cluster.get("pods", "--selector", selector)["items"]
        names = {each["metadata"]["name"] for each in pods}
        return bool(pods) and gone not in names and all(map(is_ready, pods))


class Patient(Replay):
    """Labels are sent again when a front door is lost, as a label source would; requests are not."""

    async def _labels(self, session: aiohttp.ClientSession, hour: Hour) -> None:
        for wait_s in (0.5, 1.0, 2.0, 4.0, None):
            try:
                await super()._labels(session, hour)
                return
            except (aiohttp.ClientError, TimeoutError, RuntimeError):
                if wait_s is None:
                    raise
                await asyncio.sleep(wait_s)


def roll(served: Served, hours: Iterator[Hour], number: int, follower: Follower | None) -> tuple[RolloutView, Patient]:
    """Apply a Rollout of a package that was pushed, replay flights until it has ended; how it ended."""
    client, name = served.client(), f"flights-{number}"
    serinus(served.cluster, "push", FLIGHTS, str(served.packages[number - 1]))
    replay = Patient(served.address(f"{POOL}-serinus"), FLIGHTS, served.secret("serinus-replay-token"))
    begun, seen, after = "", 0, 0

    def gate(hour: Hour) -> bool:
        nonlocal begun, seen, after
        seen += 1
        if not begun and seen >= QUIET_HOURS:
            begun = _apply(served.cluster, name, served, number)
        if not begun:
            return True
        view = _patiently(lambda: client.evidence_wait(begun, hour.start_ms + HOUR_MS - LAG_MS, AWAY_S))
        if follower is not None:
            follower.follow(view.phase)
        after += view.phase in ENDS
        return after < AFTER_HOURS

    async def gated(hour: Hour) -> bool:
        return await asyncio.to_thread(gate, hour)

    asyncio.run(replay.run(hours, gated))
    return _patiently(lambda: client.rollout(begun)), replay


def _apply(cluster: Cluster, name: str, served: Served, number: int) -> str:
    spec = {
        "model": FLIGHTS,
        "package": {"digest": digest_of(served.packages[number - 1])},
        "plan": PLAN,
        "reason": f"version {number} of the story",
    }
    cluster.apply(by_name("Rollout", name, spec))
    found = until("the rollout", 120, lambda: cluster.get("ro", name).get("status", {}).get("id"))
    return str(found)


def _patiently(ask: Callable[[], RolloutView]) -> RolloutView:
    """Again while the controller is away."""
    end = time.monotonic() + AWAY_S
    while True:
        try:
            return ask()
        except SerinusError:
            if time.monotonic() > end:
                raise
            time.sleep(1.0)
