"""`serinus rollout start | list | show | watch | pause | resume | approve | abort`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
import yaml
from pydantic import ValidationError
from rich.markup import escape

from serinus.cli.models import Model
from serinus.cli.output import AsJson, HomeOption, client_of, console, event_time, print_json, table
from serinus.client import Client
from serinus.errors import BadInput, NotFound
from serinus.rollouts import ENDS, Command, Move, Phase, Plan, RolloutView

__all__ = ["active_or", "add_to"]

EVERY_S = 0.5
Which = Annotated[str, typer.Argument(help="Id of a rollout, or a model's name: its active or else newest rollout.")]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why; it stays in the history.")]

group = typer.Typer(help="Roll a version out, and steer it.", no_args_is_help=True)


def active_or(client: Client, which: str) -> RolloutView:
    """The rollout of that id; of a model's name its active one, else its newest. Raises NotFound."""
    try:
        return client.rollout(which)
    except NotFound:
        found = client.rollouts(which)
    active = [view for view in found if view.phase not in ENDS and view.phase != Phase.QUEUED]
    if not found:
        raise NotFound(f"{which!r} is neither a rollout nor a model that had one", "`serinus status` lists both")
    return max(active or found, key=lambda view: view.started_at)


@group.command()
def start(
    model: Model,
    version: Annotated[int, typer.Argument(min=1)],
    *,
    plan: Annotated[
        Path | None, typer.Option("--plan", help="Plan, YAML (that of the SLA).", exists=True, dir_okay=False)
    ] = None,
    reason: Reason = "",
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """Give a version shadow and canary traffic, and promote it or roll it back by evidence."""
    try:
        wanted = Plan.model_validate(yaml.safe_load(plan.read_text())) if plan is not None else None
    except (ValidationError, yaml.YAMLError) as error:
        raise BadInput(f"{plan}: {error}") from error
    view = client_of(home).rollout_start(model, version, wanted, reason)
    if as_json:
        print_json(view)
    else:
        console.print(f"rollout {view.id}: {model} version {view.candidate} against {view.baseline}")
        console.print(f"next:  serinus rollout watch {model}   serinus explain {model}")


@group.command("list")
def list_(
    model: Annotated[str | None, typer.Argument()] = None, home: HomeOption = None, as_json: AsJson = False
) -> None:
    """List rollouts, of one model or all."""
    found = client_of(home).rollouts(model)
    if as_json:
        print_json(found)
        return
    rows = [
        (v.id, v.model, v.candidate, v.baseline, str(v.phase), v.canary_bp, v.verdict, v.waiting_for) for v in found
    ]
    table("", ("rollout", "model", "candidate", "baseline", "phase", "canary bp", "verdict", "waits for"), rows)


@group.command()
def show(which: Which, home: HomeOption = None, as_json: AsJson = False) -> None:
    """Show a rollout and its moves."""
    view = active_or(client_of(home), which)
    if as_json:
        print_json(view)
        return
    for move in view.history:
        console.print(_line(move))
    console.print(_now(view))


@group.command()
def watch(
    which: Which,
    timeout_s: Annotated[float | None, typer.Option(help="Give up after so long (exit code 1).")] = None,
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """Follow a rollout to its end. Exit code 0: done; 2: rolled back, aborted or superseded."""
    client = client_of(home)
    view = active_or(client, which)
    until = time.monotonic() + timeout_s if timeout_s is not None else None
    told = 0
    with console.status(_now(view)) as shown:
        while True:
            for move in () if as_json else view.history[told:]:
                console.print(_line(move))
            told = len(view.history)
            if view.phase in ENDS:
                break
            if until is not None and time.monotonic() > until:
                raise BadInput(f"rollout {view.id} is still {view.phase}", f"it waits for: {view.waiting_for}")
            shown.update(_now(view))
            time.sleep(EVERY_S)
            view = client.rollout(view.id)
    if as_json:
        print_json(view)
    raise typer.Exit(0 if view.phase == Phase.DONE else 2)


def _steering(command: Command, does: str) -> None:
    @group.command(command, help=does)
    def steer(which: Which, reason: Reason = "", home: HomeOption = None) -> None:
        client = client_of(home)
        view = client.command(active_or(client, which).id, command, reason)
        console.print(f"rollout {view.id} is {view.phase}; it waits for: {escape(view.waiting_for) or 'nothing'}")


for _command, _does in (
    ("pause", "Hold a rollout where it is."),
    ("resume", "Go on with a rollout that was paused."),
    ("approve", "Let a rollout go on that awaits approval, or leave its preflight early."),
    ("abort", "End a rollout; its baseline stays stable."),
):
    _steering(_command, _does)  # type: ignore[arg-type]  # each is one of Command's words


def _line(move: Move) -> str:
    when = event_time(move.event_ms) or "-"
    why, actor = escape(move.why), escape(move.actor)
    return f"[dim]{when:16}[/dim]  {move.start} -> [bold]{move.to}[/bold]  {why}  [dim]({actor})[/dim]"


def _now(view: RolloutView) -> str:
    share = f", canary {view.canary_bp / 100:g} %" if view.canary_bp else ""
    waits = f"; waits for {view.waiting_for}" if view.waiting_for else ""
    return escape(f"{view.model} version {view.candidate}: {view.phase}{share}{waits}")


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="rollout")
