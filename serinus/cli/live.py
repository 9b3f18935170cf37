"""A screen that is drawn again and again, until there is nothing more to see or Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.live import Live

from serinus.cli.output import console

__all__ = ["EVERY_S", "Watching", "redrawn"]

EVERY_S = 2.0

Watching = Annotated[bool, typer.Option("--watch", "-w", help="Show it anew every 2 s, until Ctrl-C.")]


def redrawn(draw: Callable[[], RenderableType | None]) -> None:
    """Show what `draw` gives until it gives None. Ctrl-C ends it quietly: whoever only looks stops nothing."""
    try:
        with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
            while (shown := draw()) is not None:
                live.update(shown, refresh=True)
                time.sleep(EVERY_S)
    except KeyboardInterrupt:
        return
