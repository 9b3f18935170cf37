"""What each process of the stack is told, as environment variables."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from deploy.ports import HOST
from deploy.tokens import sha256_hex, token_file
from serinus.errors import BadInput
from serinus.home import Home
from serinus.rooms import rooms_path

__all__ = ["ProcessSpec", "process_specs"]

READY_S = {"controller": 120.0, "serving": 240.0, "monitors": 120.0}


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process: what to run, with which variables beside ours, how long it may take to say that it is ready."""

    name: str
    command: tuple[str, ...]
    env: dict[str, str]
    ready_within_s: float
    after: tuple[str, ...] = ()
    """Processes that must be ready before it is started."""
    live_url: str = ""
    """What answers 200 as long as it lives; "" for a process that nobody can ask."""
    silent_s: float = 30.0
    """So long it may be without an answer once it was ready; then it is started again."""


def process_specs(
    home: Home,
    controller_port: int,
    serving_port: int,
    grpc_port: int,
    front_doors: int,
    *,
    metrics: Mapping[str, int] = MappingProxyType({}),
) -> tuple[ProcessSpec, ...]:
    """Controller, serving and monitor, in the order in which they are started. `metrics`: name -> port."""
    own = {
        "controller": {
            "SERINUS_CONTROLLER_HOST": HOST,
            "SERINUS_CONTROLLER_PORT": str(controller_port),
            "SERINUS_DATABASE_URL": os.environ.get("SERINUS_DATABASE_URL", f"sqlite:///{home.path / 'controller.db'}"),
            "SERINUS_PACKAGES": str(home.path / "packages"),
            "SERINUS_TOKENS_FILE": str(home.tokens / "tokens.json"),
        },
        "serving": {
            "SERINUS_TOKEN_FILE": str(token_file(home, "replica")),
            "SERINUS_HTTP_PORT": str(serving_port),
            "SERINUS_GRPC_PORT": str(grpc_port),
            "SERINUS_FRONT_DOORS": str(front_doors),
            "SERINUS_REPLAY_TOKEN_SHA256": sha256_hex(token_file(home, "replay")),
            "SERINUS_ROUTES_CACHE": str(home.path / "routes"),
        },
        "monitors": {"SERINUS_TOKEN_FILE": str(token_file(home, "monitor"))},
    }
    for name, port in metrics.items():
        own[name]["SERINUS_METRICS_PORT"] = str(port)
    common = {
        "SERINUS_HOME": str(home.path),
        "SERINUS_API": f"http://{HOST}:{controller_port}",
        "SERINUS_LOG": str(home.path / "log"),
        "SERINUS_POOL": "default",
        "PYTHONPATH": _python_path(rooms_path()),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "SPT_NOENV": "1",  # process titles must not overwrite the environment, by which `marked` finds processes
    }
    live = {
        "controller": f"http://{HOST}:{controller_port}/healthz",
        "serving": f"http://{HOST}:{serving_port}/v2/health/live",
    }
    return tuple(
        ProcessSpec(
            name=name,
            command=(sys.executable, "-m", name),
            env={**common, **env},
            ready_within_s=READY_S[name],
            after=() if name == "controller" else ("controller",),
            live_url=live.get(name, ""),
            silent_s=_silent_s(),
        )
        for name, env in own.items()
    )


def _silent_s() -> float:
    """How long a process may hang; longer than Ray Serve and HAProxy need to mend themselves. Raises BadInput."""
    text = os.environ.get("SERINUS_SILENT_S", "30")
    if not text.isdigit() or not 1 <= int(text) <= 3600:
        raise BadInput(f"SERINUS_SILENT_S is {text!r}, expected a whole number of seconds from 1 to 3600")
    return float(text)


def _python_path(rooms: Path) -> str:
    """The rooms first: nothing of the user's own may stand before them under the same name."""
    return os.pathsep.join([str(rooms), *filter(None, [os.environ.get("PYTHONPATH")])])


def ready_line(line: bytes) -> bool:
    """Whether a process says by this line of its stdout that it is ready."""
    if not line.startswith(b'{"ready"'):
        return False
    try:
        return bool(json.loads(line)["ready"])
    except ValueError:
        return False
