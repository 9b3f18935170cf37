"""`serinus package`: a plain model as a package."""

from __future__ import annotations

import typer

__all__ = ["add_to"]


def add_to(_app: typer.Typer) -> None:
    """Comes next."""
