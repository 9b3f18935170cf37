"""`serinus health`: what monitors say of a model's stable version, and the way back."""

from __future__ import annotations

import typer
from rich.markup import escape

from serinus.cli.complete import Model
from serinus.cli.output import AsJson, HomeOption, client_of, console, event_time, print_json, wall_time
from serinus.client.views import AlertView, HealthView

__all__ = ["add_to"]


def health(model: Model, home: HomeOption = None, as_json: AsJson = False) -> None:
    """Show the alerts of a model's stable version, of its inputs and of its logs."""
    view = client_of(home).health(model)
    if as_json:
        print_json(view)
        return
    lasting = [each for each in view.alerts if each.resolved_at is None]
    over = [each for each in view.alerts if each.resolved_at is not None]
    stable = "no version is stable" if view.stable is None else f"version {view.stable} is stable"
    looked = wall_time(view.looked_at) or "never"
    said = f"{len(lasting)} alerts" if lasting else "no alert"
    console.print(f"[bold]{view.model}[/bold]: {stable}, {said} (a monitor called {looked})", soft_wrap=True)
    for each in lasting:
        _line(each)
    for each in over[:10]:
        _line(each)
    if lasting:
        console.print(_way_back(view), markup=False, soft_wrap=True)


def _line(each: AlertView) -> None:
    since = f", since {event_time(each.alert.since_ms)}" if each.alert.since_ms is not None else ""
    when = f"raised {wall_time(each.raised_at)}{since}"
    if each.resolved_at is None:
        console.print(f"  [bold red]{escape(each.alert.kind)}[/bold red]  {escape(each.alert.text)}", soft_wrap=True)
    else:
        console.print(f"  [dim]resolved {wall_time(each.resolved_at)}: {escape(each.alert.text)}[/dim]", soft_wrap=True)
    console.print(f"    {when}", style="dim", markup=False, soft_wrap=True)


def _way_back(view: HealthView) -> str:
    if view.previous is None:
        return "There is no previous version to go back to; `serinus promote` makes another one stable."
    return f'To go back to version {view.previous}: serinus rollback {view.model} --reason "..."'


def add_to(app: typer.Typer) -> None:
    app.command()(health)
