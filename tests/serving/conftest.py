"""Small real packages, a stand-in controller that speaks the watch protocol, and one real Ray Serve stack."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serinus.routes import PackageRef
from serving.settings import Settings
from tests.pool.controller import StandInController
from tests.pool.packages import expected, write_package
from tests.pool.stack import Stack, free_port, read_log, request, wait_for


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[int, PackageRef]:
    """Versions 1 and 2, which answer differently."""
    folder = tmp_path_factory.mktemp("packages")
    return {seed: write_package(folder / str(seed), seed) for seed in (1, 2)}


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, packages: dict[int, PackageRef]) -> Iterator[Stack]:
    started = Stack(tmp_path_factory.mktemp("stack"), packages)
    try:
        yield started
    finally:
        started.stop()


@pytest.fixture
def controller() -> Iterator[StandInController]:
    standin = StandInController()
    yield standin
    standin.stop()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "token").write_text("replica-token")
    env = {
        "SERINUS_HOME": str(tmp_path / "home"),
        "SERINUS_LOG": str(tmp_path / "log"),
        "SERINUS_TOKEN_FILE": str(tmp_path / "token"),
    }
    return Settings.from_env(env)


@pytest.fixture(scope="session")
def tools() -> Any:
    """What tests of a pool call."""

    class Tools:
        wait_for = staticmethod(wait_for)
        expected = staticmethod(expected)
        request = staticmethod(request)
        read_log = staticmethod(read_log)
        write_package = staticmethod(write_package)
        free_port = staticmethod(free_port)
        new_id = staticmethod(lambda: str(uuid.uuid4()))

    return Tools
