"""Serinus: registry and rollout controller for multi-task models.

This package holds the words that every room shares (tasks, SLA, package, routes, records, evidence, rollouts,
errors) and what people import or type: `serinus.client`, `serinus.cli`, `serinus.training`. It never imports a room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serinus.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The clients, imported when somebody asks for them: rooms import `serinus` for its words alone."""
    if name not in ("AsyncClient", "Client"):
        raise AttributeError(f"module 'serinus' has no attribute {name!r}")
    from serinus import client  # noqa: PLC0415

    return getattr(client, name)
