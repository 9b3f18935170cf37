"""What a request handler may use, and who may call it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Request

from controller.auth import Caller, Role
from controller.bell import Bell
from controller.database import Database
from controller.door import Door
from controller.listening import Listening
from controller.metrics import Metrics
from controller.notify.sender import Sender
from controller.once import Claims
from controller.presence import Presence
from controller.reconciler import Reconciler
from controller.routebook import RouteBook
from controller.store import PackageStore
from controller.streams import Streams
from controller.sweeping import Sweeping
from controller.tokens_file import TokensFile
from controller.upkeep import Upkeep

__all__ = ["Admin", "Copying", "Engineering", "Monitoring", "Operating", "Replicating", "Services", "Used", "Viewing"]


@dataclass(slots=True)
class Services:
    """`clock`: wall time, Unix seconds. `notify`: the file of who is told of what. `pushes`: how many packages are
    inspected at once. `bell`: rung for the name of a pool when a route table of it has changed.
    `looks_kept_s`: how long looks are kept after the end of their rollout. `garbage_every_s`: seconds between
    collections of garbage; 0: only when somebody asks.
    `sources`: URIs below which packages may be fetched from. `tokens_file`: tokens known already; it is followed."""

    db: Database
    store: PackageStore
    clock: Callable[[], float] = time.time
    notify: Path | None = None
    looks_kept_s: float = 365 * 86_400.0
    garbage_every_s: float = 3_600.0
    sources: tuple[str, ...] = ()
    tokens_file: Path | None = None
    bell: Bell = field(default_factory=Bell)
    pushes: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(2))
    metrics: Metrics = field(init=False)
    reconciler: Reconciler = field(init=False)
    sender: Sender = field(init=False)
    door: Door = field(init=False)
    claims: Claims = field(init=False)
    book: RouteBook = field(init=False)
    presence: Presence = field(init=False)
    upkeep: Upkeep = field(init=False)
    tokens: TokensFile = field(init=False)
    listening: Listening = field(init=False)
    events: Bell = field(default_factory=Bell)
    streams: Streams = field(default_factory=Streams)

    def __post_init__(self) -> None:
        self.listening = Listening(self.db)
        self.metrics = Metrics(self.db, self.clock, self._active)
        self.reconciler = Reconciler(
            self.db,
            self.store.uri,
            self.clock,
            self.bell.ring,
            lambda: self.listening.deaf,
            turning=self.metrics.turn,
            decided=self.metrics.decided,
        )
        self.sender = Sender(self.db, self.notify, self.clock)
        self.door = Door(self.db, self.clock)
        self.claims = Claims(self.db, self.clock)
        self.book = RouteBook(self.db, self.bell)
        self.presence = Presence(self.db, self.clock)
        self.tokens = TokensFile(self.db, self.tokens_file)
        sweeping = Sweeping(self.db, self.store, self.clock, every_s=self.garbage_every_s, active=self._active)
        self.upkeep = Upkeep(self.db, self.clock, self.looks_kept_s, sweeping.turn)
        self.db.listeners |= {
            "audit": self.events.ring,
            "pool": self.bell.ring,
            "facts": self.reconciler.nudge,
            "notices": lambda _subject: self.sender.nudge(),
        }

    def _active(self) -> bool:
        return self.reconciler.active


async def _services(request: Request) -> Services:  # not async, it would cost each request a thread
    services: Services = request.app.state.services
    return services


Used = Annotated[Services, Depends(_services)]


def _needs(*roles: Role) -> Callable[[Request, Services], Caller]:
    def check(request: Request, services: Used) -> Caller:
        return services.door.enter(request, frozenset(roles))

    return check


async def _replicating(request: Request, services: Used) -> Caller:
    """A thousand replicas ask for new tables: mostly without a thread and without the database."""
    allowed: frozenset[Role] = frozenset({"replica"})
    if (caller := services.door.recall(request, allowed)) is not None:
        return caller
    return await to_thread.run_sync(services.door.enter, request, allowed)


Viewing = Annotated[Caller, Depends(_needs("viewer", "engineer", "operator"))]
"""May look at everything but logged inputs."""
Engineering = Annotated[Caller, Depends(_needs("engineer", "operator"))]
"""May push, start rollouts and ask for jobs besides."""
Operating = Annotated[Caller, Depends(_needs("operator"))]
"""May command rollouts, promote, and set ranking weights besides."""
Admin = Annotated[Caller, Depends(_needs())]
"""May manage tokens and keys, delete, and erase besides."""
Replicating = Annotated[Caller, Depends(_replicating)]
Copying = Annotated[Caller, Depends(_needs("engineer", "operator", "replica", "monitor"))]
"""May read packages, in which there is a sample of inputs."""
Monitoring = Annotated[Caller, Depends(_needs("monitor"))]
