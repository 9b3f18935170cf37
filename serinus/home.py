"""The state folder of a local stack: which files lie in it, and what they say.

HOME/stack.json     where the stack answers; there only while it is ready
HOME/state.json     what the supervisor knows of each process, replaced as a whole at every change
HOME/lock           held (flock) by the supervisor while it lives, with its process id inside
HOME/tokens/        one file for each token, 0600
HOME/logs/          one file for each process
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import ValidationError

from serinus.tasks import Word

__all__ = ["Home", "ProcessState", "Stack", "StackState", "write_whole"]


class Stack(Word):
    """Where a local stack answers. `grpc`: host:port of the serving side's gRPC.

    `metrics`: what Prometheus may ask: "controller" (by the token), "serving", "monitors".
    `token_file`, `replay_token_file`: what its owner may use. Format 1."""

    format: Literal[1] = 1
    stack: str
    pid: int
    api: str
    serving: str
    grpc: str = ""
    token_file: str
    replay_token_file: str
    metrics: dict[str, str] = {}


class ProcessState(Word):
    """One process of the stack. `since`: Unix seconds of the last change. `ended`: how it last ended, if it did."""

    name: str
    state: Literal["waiting", "starting", "ready", "backing_off", "stopping", "stopped"]
    pid: int | None = None
    restarts: int = 0
    since: float
    log: str
    ended: str = ""


class StackState(Word):
    """What the supervisor says of itself and its processes. `stack` marks them all (environment SERINUS_STACK)."""

    format: Literal[1] = 1
    stack: str
    pid: int
    phase: Literal["starting", "ready", "stopping", "stopped", "failed"]
    problem: str = ""
    hint: str = ""
    processes: tuple[ProcessState, ...] = ()


Read = TypeVar("Read", bound=Word)


class Home:
    """A state folder. `path`: None means $SERINUS_HOME, else ~/.serinus."""

    def __init__(self, path: Path | str | None = None) -> None:
        self.path = Path(path or os.environ.get("SERINUS_HOME") or Path.home() / ".serinus").expanduser().absolute()
        self.stack_file, self.state_file = self.path / "stack.json", self.path / "state.json"
        self.lock_file, self.logs, self.tokens = self.path / "lock", self.path / "logs", self.path / "tokens"

    def stack(self) -> Stack | None:
        """Where the stack answers, or None when it is not up."""
        return _read(self.stack_file, Stack)

    def state(self) -> StackState | None:
        """What the supervisor last wrote, or None when there never was one."""
        return _read(self.state_file, StackState)

    def supervisor(self) -> int | None:
        """Process id of the supervisor that lives, or None: a lock ends with its process, however that ends."""
        for _ in range(100):
            try:
                with self.lock_file.open() as file:
                    try:
                        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                        return None
                    except BlockingIOError:
                        if written := file.read().strip():
                            return int(written)
            except FileNotFoundError:
                return None
            time.sleep(0.01)  # it has the lock, and writes its id now
        return None


def write_whole(path: Path, word: Word) -> None:
    """Replace a file as a whole: a reader finds the old text or the new one, never a part."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(word.model_dump_json(indent=1) + "\n")
    beside.replace(path)


def _read(path: Path, kind: type[Read]) -> Read | None:
    try:
        return kind.model_validate_json(path.read_text())
    except (FileNotFoundError, ValidationError):
        return None
