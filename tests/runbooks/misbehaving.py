"""Faults that only users' requests bring about."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from tests.alerts.traffic import MODEL
from tests.pool.processes import command_lines, descendants
from tests.runbooks.users import load, odd_model
from tests.runbooks.world import World

__all__ = ["MISBEHAVING"]

RAISES_AT, SLOW_AT = 200.0, 160.0
"""Hours at which a row makes an encoder that raises do so, and one that is slow need 0.2 s."""
CROWD = 100


@contextmanager
def _encoder_raises(world: World) -> Iterator[None]:
    with load(world, odd_model(world, "raising"), RAISES_AT):
        yield


@contextmanager
def _encoder_is_slow(world: World) -> Iterator[None]:
    with load(world, odd_model(world, "slow"), SLOW_AT):
        yield


@contextmanager
def _too_many_users(world: World) -> Iterator[None]:
    with load(world, odd_model(world, "slow"), SLOW_AT, CROWD):
        yield


@contextmanager
def _shadow_stopped(world: World) -> Iterator[None]:
    world.some_rollout()
    serving = world.running.pid("serving")
    assert serving is not None
    (pid,) = [p.pid for p, line in command_lines(descendants(serving)) if "ServeReplica:serinus:Shadow" in line]
    os.kill(pid, signal.SIGSTOP)
    try:
        with load(world, MODEL, 1.0):
            yield
    finally:
        os.kill(pid, signal.SIGCONT)


MISBEHAVING: dict[str, Callable[[World], AbstractContextManager[None]]] = {
    "head-fallbacks": _encoder_raises,
    "latency-budget-burn": _encoder_is_slow,
    "error-budget-burn": _too_many_users,
    "shadow-dropping": _shadow_stopped,
}
