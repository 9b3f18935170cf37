"""A bar while a job goes on; Ctrl-C leaves the job running."""

from __future__ import annotations

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from serinus.cli.exits import INTERRUPTED
from serinus.cli.output import complain, console
from serinus.client import Client
from serinus.jobs import Job

__all__ = ["waited"]


def waited(client: Client, job: Job, quiet: bool = False) -> Job:
    """The job when it is done. Raises JobFailed; ends with code 130, saying how to come back, at Ctrl-C."""
    bar = (
        TextColumn(job.kind),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    try:
        with Progress(*bar, console=console, transient=True, disable=quiet) as progress:
            shown = progress.add_task("waiting for a monitor", total=1.0)

            def told(now: Job) -> None:
                said = "waiting for a monitor" if now.state == "queued" else now.said
                progress.update(shown, completed=now.progress, description=escape(said[:100]))

            return client.job_wait(job.id, told)
    except KeyboardInterrupt:
        complain(f"job {job.id} goes on", f"come back with `serinus jobs show {job.id} --wait`; end it with `cancel`")
        raise typer.Exit(INTERRUPTED) from None
