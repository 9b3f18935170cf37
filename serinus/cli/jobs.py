"""`serinus jobs list | show | cancel`: long work that monitors do."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import RenderableType
from rich.markup import escape

from serinus.cli.backtest import tell_backtest
from serinus.cli.complete import models
from serinus.cli.live import Watching, redrawn
from serinus.cli.output import AsJson, HomeOption, client_of, console, print_json, table_of, wall_time
from serinus.cli.plan import tell_plan
from serinus.cli.waiting import waited
from serinus.jobs import JOB_ENDS, Job

__all__ = ["add_to"]

group = typer.Typer(help="Long work: plans, backtests and the like.", no_args_is_help=True)
Which = Annotated[str, typer.Argument(metavar="JOB", help="Id of a job.")]


@group.command("list")
def list_(
    model: Annotated[str | None, typer.Argument(autocompletion=models)] = None,
    watch: Watching = False,
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, of one model or all, the newest first."""
    client = client_of(home)
    if as_json:
        print_json(client.jobs(model))
    elif watch:
        redrawn(lambda: _listed(client.jobs(model)))
    else:
        console.print(_listed(client.jobs(model)))


def _listed(found: list[Job]) -> RenderableType:
    rows = [
        (job.id, job.kind, job.model, job.state, f"{job.progress:.0%}", job.worker, job.actor,
         wall_time(job.created_at), job.said.splitlines()[-1][:80] if job.said else "")
        for job in found
    ]  # fmt: skip
    return table_of("", ("job", "kind", "model", "state", "done", "monitor", "by", "asked", "said"), rows)


@group.command()
def show(
    job: Which,
    wait: Annotated[bool, typer.Option("--wait", help="Until it has ended.")] = False,
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """Show how far a job is, or what it found."""
    client = client_of(home)
    found = client.job(job)
    if wait and found.state not in JOB_ENDS:
        found = waited(client, found, quiet=as_json)
    if as_json:
        print_json(found)
    else:
        _tell(found)


@group.command()
def cancel(job: Which, home: HomeOption = None) -> None:
    """End a job that waits or runs."""
    found = client_of(home).job_cancel(job)
    console.print(f"job {found.id} is {found.state}")


def _tell(job: Job) -> None:
    said = f": {job.said}" if job.said else ""
    console.print(
        escape(f"{job.kind} of {job.model}, asked by {job.actor} {wall_time(job.created_at)}: {job.state}{said}"),
        soft_wrap=True,
    )
    if job.state == "running":
        console.print(f"{job.progress:.0%} done, by {escape(job.worker or '?')}")
    if job.result is None:
        return
    match job.kind:
        case "plan":
            tell_plan(job.result)
        case "backtest":
            tell_backtest(job.result)
        case _:
            print_json(job.result)


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="jobs")
