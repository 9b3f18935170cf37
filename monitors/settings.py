"""What the process is told by its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from serinus.errors import BadInput


@dataclass(frozen=True, slots=True)
class Settings:
    """`api`: the controller's URL; `token`: of role monitor; `log`: folder of the logs; `state`: of the checkpoints."""

    api: str
    token: str = field(repr=False)
    log: Path
    state: Path
    name: str = "monitor-0"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Raises BadInput that names the variable which is missing."""
        needed = ("SERINUS_API", "SERINUS_TOKEN_FILE", "SERINUS_LOG", "SERINUS_HOME")
        if missing := [name for name in needed if not environment.get(name)]:
            raise BadInput(f"{', '.join(missing)} must be set", "`serinus up` sets what its processes need")
        return cls(
            api=environment["SERINUS_API"].rstrip("/"),
            token=Path(environment["SERINUS_TOKEN_FILE"]).read_text().strip(),
            log=Path(environment["SERINUS_LOG"]),
            state=Path(environment["SERINUS_HOME"]) / "monitor",
            name=environment.get("SERINUS_MONITOR_NAME", "monitor-0"),
        )
