"""What the process is told by its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from serinus.errors import BadInput

MOST_SHARDS = 64


@dataclass(frozen=True, slots=True)
class Settings:
    """`api`: the controller's URL; `token_file`: its token, of role monitor; `log`: folder of the
    logs; `state`: of the checkpoints.

    `shards`: processes that read and accumulate; 1: this one alone. `ray`: address of the Ray cluster that they run on;
    "": a small one of their own. `metrics_port`: where Prometheus may ask, 0: nowhere; `metrics_token_file`: what it
    must show then."""

    api: str
    token_file: Path
    log: Path
    state: Path
    name: str = "monitor-0"
    shards: int = 1
    ray: str = ""
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 0
    metrics_token_file: Path | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Raises BadInput that names the variable which is missing or wrong, OSError when the token cannot be read."""
        needed = ("SERINUS_API", "SERINUS_TOKEN_FILE", "SERINUS_LOG", "SERINUS_HOME")
        if missing := [name for name in needed if not environment.get(name)]:
            raise BadInput(f"{', '.join(missing)} must be set", "`serinus up` sets what its processes need")
        shards = environment.get("SERINUS_MONITOR_SHARDS") or "1"
        if not shards.isascii() or not shards.isdigit() or not 1 <= int(shards) <= MOST_SHARDS:
            raise BadInput(f"SERINUS_MONITOR_SHARDS is {shards[:40]!r}, not a number from 1 to {MOST_SHARDS}")
        port = environment.get("SERINUS_METRICS_PORT") or "0"
        if not port.isascii() or not port.isdigit() or int(port) > 65_535:
            raise BadInput(f"SERINUS_METRICS_PORT is {port[:40]!r}, not a port")
        token_file = Path(environment["SERINUS_TOKEN_FILE"])
        token_file.read_text()  # who cannot read it is told so at the start
        shown = environment.get("SERINUS_METRICS_TOKEN_FILE")
        return cls(
            api=environment["SERINUS_API"].rstrip("/"),
            token_file=token_file,
            log=Path(environment["SERINUS_LOG"]),
            state=Path(environment["SERINUS_HOME"]) / "monitor",
            name=environment.get("SERINUS_MONITOR_NAME", "monitor-0"),
            shards=int(shards),
            ray=environment.get("SERINUS_MONITOR_RAY", ""),
            metrics_host=environment.get("SERINUS_METRICS_HOST") or "127.0.0.1",
            metrics_port=int(port),
            metrics_token_file=Path(shown) if shown else None,
        )
