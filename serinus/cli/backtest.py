"""`serinus backtest`: what today's guards would have done in past weeks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.markup import escape

from serinus.cli.complete import Model
from serinus.cli.output import AsJson, HomeOption, client_of, console, event_time, print_json, table
from serinus.cli.plan import SlaFile, sla_of
from serinus.cli.waiting import waited

__all__ = ["add_to", "tell_backtest"]

_MEANS = {"twin": "stable against itself", "swap": "two versions, their names swapped by a coin each day"}


def backtest(
    model: Model,
    *,
    weeks: Annotated[float, typer.Option(help="Weeks of logs, up to the newest mature label.")] = 4.0,
    inject: Annotated[
        list[str] | None,
        typer.Option(help="A regression to find: METRIC:SIZE[@TASK][@SLICE=VALUE], as auc:0.05@click; again for more."),
    ] = None,
    starts: Annotated[int, typer.Option(min=1, max=100, help="Days from which a run begins.")] = 4,
    repeats: Annotated[int, typer.Option(min=1, max=100, help="Runs of each kind without a regression.")] = 3,
    days: Annotated[float | None, typer.Option(help="Length of each run; half of the weeks by default.")] = None,
    sla: SlaFile = None,
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """Run the guards over logs of past weeks: false rollbacks, and when a regression would have been found."""
    client = client_of(home)
    asked = client.backtest(model, weeks, tuple(inject or ()), sla_of(sla), starts=starts, repeats=repeats, days=days)
    job = waited(client, asked, quiet=as_json)
    if as_json:
        print_json(job.result)
    else:
        tell_backtest(job.result or {})


def tell_backtest(result: Mapping[str, Any]) -> None:
    """The backtest for people."""
    rows = [
        (_name(of), of["judged"], of["rolled_back"], _spread(of["days"]), of["labels"],
         of["satisfied"], of["satisfied_days"], ", ".join(of["culprits"]))
        for of in result["scenarios"]
    ]  # fmt: skip
    span = f"{event_time(result['start_ms'])} to {event_time(result['end_ms'])}"
    table(
        f"{result['model']}: {span}, runs of {result['run_days']:g} days",
        ("candidate", "runs", "rolled back", "after days", "labels", "satisfied", "after days", "culprits"),
        rows,
    )
    false = result["false_rollbacks"]
    console.print(
        f"false rollbacks: {false['count']} of {false['of']}; by these runs the rate is at most {false['at_most']:.1%} "
        f"(exact binomial, 95 %), promised are {result['alpha']:.1%}",
        style="bold",
        soft_wrap=True,
    )
    console.print("Runs share their days, so they are not independent: the bound is too narrow by that.", style="dim")
    for of in result["scenarios"]:
        if of["judged"] < of["runs"]:
            said = f"{of['name']}: {of['runs'] - of['judged']} runs had too few labels to judge anything"
            console.print(escape(said), style="dim")


def _name(of: Mapping[str, Any]) -> str:
    name = str(of["name"])
    return _MEANS.get(name, name) if of["null"] else name


def _spread(days: list[float] | None) -> str | None:
    return None if days is None else f"{days[1]:.1f} ({days[0]:.1f} to {days[2]:.1f})"


def add_to(app: typer.Typer) -> None:
    app.command()(backtest)
