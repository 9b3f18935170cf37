"""A bar while bytes go out; Ctrl-C says how to go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from serinus.cli.exits import INTERRUPTED
from serinus.cli.output import complain, console
from serinus.client.archive import Progress as Told

__all__ = ["transfer"]


@contextmanager
def transfer(what: str, again: str, quiet: bool = False) -> Iterator[Told]:
    """What to tell of (bytes sent, bytes in all). `again`: the command that goes on after Ctrl-C."""
    bar = (
        TextColumn(what),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[then]}"),
    )
    try:
        with Progress(*bar, console=console, transient=True, disable=quiet) as progress:
            shown = progress.add_task(what, total=None, then="")

            def sent(done: int, total: int) -> None:
                progress.update(shown, completed=done, total=total, then="checking" if done == total else "")

            yield sent
    except KeyboardInterrupt:
        complain("stopped by Ctrl-C; nothing is registered yet", f"`{again}` goes on, with what was sent already")
        raise typer.Exit(INTERRUPTED) from None
