"""The command `serinus`. It speaks to the API alone; only `up` and `down` touch processes of this machine."""

from serinus.cli.app import app, main, run

__all__ = ["app", "main", "run"]
