"""`serinus rollout start | list | show | watch | pause | resume | approve | skip | abort | rollback | promote`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from serinus.cli.complete import Model, Version, Which, models
from serinus.cli.live import Watching, redrawn
from serinus.cli.output import AsJson, HomeOption, Reason, client_of, console, print_json, table_of
from serinus.cli.watching import line_of, now_of, watch
from serinus.cli.which import active_or
from serinus.errors import BadInput
from serinus.rollouts import Command, Plan, RolloutView
from serinus.yaml_files import read_yaml

__all__ = ["add_to"]

group = typer.Typer(help="Roll a version out, and steer it.", no_args_is_help=True)


@group.command()
def start(
    model: Model,
    version: Version,
    *,
    plan: Annotated[
        Path | None, typer.Option("--plan", help="Plan, YAML (that of the SLA).", exists=True, dir_okay=False)
    ] = None,
    reason: Reason = "",
    queue: Annotated[bool, typer.Option("--queue", help="Wait behind the rollout that is active.")] = False,
    skip_preflight: Annotated[
        bool, typer.Option("--skip-preflight", help="Meet users untried on the past; for operators, with a --reason.")
    ] = False,
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """Give a version shadow and canary traffic, and promote it or roll it back by evidence."""
    client = client_of(home)
    wanted = read_yaml(Plan, plan.read_text(), str(plan)) if plan is not None else None
    if skip_preflight and not reason:
        raise BadInput("a preflight is not skipped without a reason", "--reason TEXT, such as: no traffic yet")
    view = client.rollout_start(model, version, wanted, reason, queue=queue, skip_preflight=skip_preflight)
    if as_json:
        print_json(view)
        return
    behind = f", behind {', '.join(view.queued_behind)}" if view.queued_behind else ""
    console.print(f"rollout {view.id}: {model} version {view.candidate} against {view.baseline}{behind}")
    console.print(f"next:  serinus rollout watch {view.id}   serinus explain {model}")


@group.command("list")
def list_(
    model: Annotated[str | None, typer.Argument(autocompletion=models)] = None,
    active: Annotated[bool, typer.Option("--active", help="Only those that go on.")] = False,
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """List rollouts, of one model or all, the newest first."""
    found = client_of(home).rollouts(model, active=active or None)
    if as_json:
        print_json(found)
        return
    rows = [
        (v.id, v.model, v.candidate, v.baseline, str(v.phase), v.canary_bp, v.verdict, v.waiting_for) for v in found
    ]
    columns = ("rollout", "model", "candidate", "baseline", "phase", "canary bp", "verdict", "waits for")
    console.print(table_of("", columns, rows))


@group.command()
def show(which: Which, watch: Watching = False, home: HomeOption = None, as_json: AsJson = False) -> None:
    """Show a rollout and its moves."""
    client = client_of(home)
    view = active_or(client, which)
    if as_json:
        print_json(view)
    elif watch:
        redrawn(lambda: _drawn(client.rollout(view.id)))
    else:
        console.print(_drawn(view), soft_wrap=True)


def _drawn(view: RolloutView) -> RenderableType:
    moves = [Text.from_markup(line_of(move)) for move in view.history]
    allowed = f"commands now: {', '.join(view.allowed)}" if view.allowed else ""
    return Group(*moves, Text.from_markup(now_of(view)), *([Text(allowed, "dim")] if allowed else []))


def _steering(command: Command, does: str) -> None:
    @group.command(command, help=does)
    def steer(which: Which, reason: Reason = "", home: HomeOption = None, as_json: AsJson = False) -> None:
        client = client_of(home)
        view = client.command(active_or(client, which).id, command, reason)
        if as_json:
            print_json(view)
        else:
            waits = escape(view.waiting_for) or "nothing"
            console.print(f"rollout {view.id} is {view.phase}; it waits for: {waits}", soft_wrap=True)


group.command()(watch)
for _command, _does in (
    ("pause", "Hold a rollout where it is."),
    ("resume", "Go on with a rollout that was paused."),
    ("approve", "Let a rollout go on that awaits approval, or leave its preflight early."),
    ("skip", "Leave a preflight, the hold of a shadow or a step early; needs a reason."),
    ("abort", "End a rollout; its baseline stays stable."),
    ("rollback", "End a rollout at once in favour of its baseline."),
    ("promote", "Make its version stable at once, whatever the evidence lacks; needs a reason."),
):
    _steering(_command, _does)  # type: ignore[arg-type]  # each is one of Command's words


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="rollout")
