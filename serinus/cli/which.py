"""Which rollout somebody means."""

from __future__ import annotations

from serinus.client import Client
from serinus.errors import NotFound
from serinus.rollouts import ENDS, RolloutView

__all__ = ["active_or"]


def active_or(client: Client, which: str) -> RolloutView:
    """The rollout of that id; of a model's name its active one, else its newest. Raises NotFound."""
    try:
        return client.rollout(which)
    except NotFound:
        found = client.rollouts(which)
    active = [view for view in found if view.phase not in ENDS and not view.queued_behind]
    if not found:
        raise NotFound(f"{which!r} is neither a rollout nor a model that had one", "`serinus status` lists both")
    return max(active or found, key=lambda view: view.started_at)
