"""A pool in a Ray cluster that somebody else has started, such as KubeRay; nothing of Ray is started or stopped here.

`import_path: serving.on_ray:application_from_env`. Ray's, Ray Serve's and HAProxy's settings are in the pods'
environment, the same in all pods: what is read when Ray is imported cannot be set here any more."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from serinus.errors import BadInput
from serving.settings import Settings

NEEDED = {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_SERVE_ENABLE_HA_PROXY": "1"}
"""Without the second the first closes port 8000 of every pod, and nothing says why."""


def application_from_env(_arguments: dict[str, Any]) -> Any:
    """What Ray Serve deploys. Raises BadInput that names the variable which is wrong or missing."""
    from serving.app import application  # noqa: PLC0415 (it imports Ray, which the check must come before)

    return application(checked(os.environ), spread=True)


def checked(env: Mapping[str, str]) -> Settings:
    """The settings of a pool in pods. Raises BadInput.

    There is no default for what two pods must agree on, and no answer without a token over the network."""
    for name, value in NEEDED.items():
        if env.get(name) != value:
            raise BadInput(f"{name} is {env.get(name, '')!r}, a pool in a Ray cluster needs {value}")
    for name in ("SERINUS_API", "SERINUS_POOL", "SERINUS_LOG", "SERINUS_TOKEN_FILE"):
        if not env.get(name):
            raise BadInput(f"{name} is not set, a pool in a Ray cluster needs it")
    return Settings.from_env(env)
