"""The real stack of a test: `serinus up` and `serinus down` on free ports, and flights to send to it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples.flights import data, models
from serinus.client import Client
from serinus.home import Home, Stack
from serinus.sla import Sla

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Running:
    """A stack that is up."""

    home: Home
    client: Client

    @property
    def stack(self) -> Stack:
        stack = self.home.stack()
        assert stack is not None, "the stack is not up"
        return stack

    @property
    def replay_token(self) -> str:
        return Path(self.stack.replay_token_file).read_text().strip()

    def pid(self, process: str) -> int | None:
        """The process id of the controller, serving or monitors; None while it is not ready."""
        state = self.home.state()
        assert state is not None
        return next((p.pid for p in state.processes if p.name == process and p.state == "ready"), None)


def serinus(home: Path, *words: str) -> None:
    """Run the command line as a person would."""
    command = [sys.executable, "-m", "serinus.cli", *words, "--home", str(home)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"


Up = Callable[..., Running]


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """Starts a stack with these options of `serinus up`; it is stopped after the test."""
    homes: list[Running] = []

    def start(*options: str) -> Running:
        home = tmp_path / f"home{len(homes)}"
        serinus(home, "up", "--controller-port", "0", "--serving-port", "0", *options)
        homes.append(Running(Home(home), Client(home=home, replay=True)))
        return homes[-1]

    yield start
    for running in homes:
        running.client.close()
        serinus(running.home.path, "down")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """The packages of the flights models, trained once a session: version 3 has its defect."""
    folder, flights = tmp_path_factory.mktemp("packages"), models.prepare(data.load())

    def package(version: int) -> Path:
        path = folder / str(version)
        return path if path.exists() else models.train(version, flights, path)

    return package


@pytest.fixture(scope="session")
def sla() -> Sla:
    """The SLA of the flights model."""
    return Sla.from_yaml((REPOSITORY / "examples" / "flights" / "sla.yaml").read_text())
