"""One pool for all faults that it outlives, packages that misbehave, and a table of what clients saw."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serinus.routes import PackageRef
from tests.faults.checks import whole
from tests.faults.odd import KINDS, write_odd
from tests.pool.packages import write_package
from tests.pool.stack import Stack

SEEN: list[tuple[str, str]] = []
VERSIONS = {2: "", 3: "slow", 4: "raising", 5: "nan", 6: "greedy"}
"""Candidates by what they do for odd rows; "" is the sound one."""


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[int, PackageRef]:
    folder = tmp_path_factory.mktemp("packages")
    assert set(VERSIONS.values()) == {"", *KINDS}
    return {
        seed: write_odd(folder / str(seed), seed, kind) if kind else write_package(folder / str(seed), seed)
        for seed, kind in {1: "", **VERSIONS}.items()
    }


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, packages: dict[int, PackageRef]) -> Iterator[Stack]:
    started = Stack(tmp_path_factory.mktemp("stack"), packages)
    try:
        yield started
    finally:
        started.stop()


@pytest.fixture
def stack(shared: Stack) -> Stack:
    """The shared pool with all its processes in place, two of them front doors, and version 1 alone routed to."""
    whole(shared)
    shared.route()
    return shared


@pytest.fixture
def own_stack(tmp_path: Path, packages: dict[int, PackageRef]) -> Iterator[Callable[..., Stack]]:
    """Starts a pool for one test: for a fault that the shared one cannot outlive, or with settings of its own."""
    started: list[Stack] = []

    def start(wait: bool = True, **settings: str) -> Stack:
        folder = tmp_path / f"stack{len(started)}"
        folder.mkdir()
        started.append(Stack(folder, packages, wait, **settings))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def seen(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Keep a line of numbers for the table at the end of the session."""
    return lambda line: SEEN.append((request.node.name, line))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if SEEN:
        terminalreporter.section("what clients saw")
        for name, line in SEEN:
            terminalreporter.write_line(f"{name}: {line}")
