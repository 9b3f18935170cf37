"""What a shell offers when one presses Tab: names that the controller knows. A controller that is slow offers none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from serinus.client import Client
from serinus.errors import SerinusError

__all__ = ["Model", "Version", "Which", "models", "rollouts", "versions"]

SOON_S = 1.0


def models(context: typer.Context, incomplete: str) -> list[str]:
    """Names of models."""
    return _offered(context, incomplete, lambda client: [each.model for each in client.models()])


def versions(context: typer.Context, incomplete: str) -> list[str]:
    """Numbers of the versions of the model that stands before."""
    model = context.params.get("model")
    if not model:
        return []
    return _offered(context, incomplete, lambda client: [str(each.version) for each in client.versions(model)])


def rollouts(context: typer.Context, incomplete: str) -> list[str]:
    """Models with an active rollout, then ids of rollouts."""

    def known(client: Client) -> list[str]:
        found = client.rollouts()
        return [*dict.fromkeys(each.model for each in found), *(each.id for each in found)]

    return _offered(context, incomplete, known)


def _offered(context: typer.Context, incomplete: str, known: Callable[[Client], list[str]]) -> list[str]:
    """A Tab is no place for errors: whatever goes wrong, nothing is offered."""
    home = context.params.get("home") or context.find_root().params.get("home")
    try:
        with Client(home=home, timeout_s=SOON_S) as client:
            return [name for name in known(client) if name.startswith(incomplete)]
    except (SerinusError, OSError, ValueError):
        return []


Model = Annotated[str, typer.Argument(help="Name of the model.", autocompletion=models)]
Version = Annotated[int, typer.Argument(min=1, help="Number of the version.", autocompletion=versions)]
Which = Annotated[
    str,
    typer.Argument(help="Id of a rollout, or a model's name: its active or else newest one.", autocompletion=rollouts),
]
