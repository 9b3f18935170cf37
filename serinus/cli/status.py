"""`serinus status`: what is going on, and what needs me, in one screen."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from serinus.cli.live import EVERY_S, Watching, redrawn
from serinus.cli.needs import Need, held_hours, needs_of
from serinus.cli.output import AsJson, HomeOption, console, event_time, print_json, print_line, table_of
from serinus.cli.processes import processes_of, processes_shown
from serinus.client import Client
from serinus.client.situation import RolloutNow, Situation
from serinus.errors import SerinusError
from serinus.home import Home

__all__ = ["add_to"]

PATIENCE_S = 3.0
"""For one answer, five attempts: a controller that hangs is to be seen as such before one looks elsewhere."""
MOST_NEEDS, MOST_ROLLOUTS, MOST_MODELS = 30, 20, 20
"""Lines of each table: what is going on is to fit a screen."""


def status(home: HomeOption = None, watch: Watching = False, as_json: AsJson = False) -> None:
    """Show what needs you, then rollouts, models and processes.

    With --json and --watch: one line of JSON each time."""
    client = Client(home=home, timeout_s=PATIENCE_S)
    if watch and not as_json:
        redrawn(lambda: _drawn(client, home))
    elif watch:
        _streamed(client, home)
    elif as_json:
        print_json(_asked(client, home))
    else:
        console.print(_drawn(client, home))


def _streamed(client: Client, home: Any) -> None:
    try:
        while True:
            print_line(_asked(client, home))
            time.sleep(EVERY_S)
    except KeyboardInterrupt:
        return


def _asked(client: Client, home: Any) -> dict[str, Any]:
    """All that is shown, as JSON: `needs_me`, `rollouts`, and what the controller says."""
    local = "SERINUS_API" not in os.environ
    state, alive = processes_of(Home(home)) if local else (None, False)
    found: dict[str, Any] = {"processes": state, "running": alive, "controller": None, "needs_me": []}
    try:
        said = client.status()
    except SerinusError:
        if local and state is not None:
            print_json(found)
        raise
    needs = needs_of(Situation.model_validate(said))
    return {**found, "controller": said, "needs_me": needs, "rollouts": said.get("rollouts", [])}


def _drawn(client: Client, home: Any) -> RenderableType:
    local = "SERINUS_API" not in os.environ
    shown: list[RenderableType] = []
    if local:
        at = Home(home)
        shown.append(processes_shown(at, *processes_of(at)))
    try:
        said = Situation.model_validate(client.status())
    except SerinusError:
        console.print(*shown)
        raise
    return Group(_needs_shown(needs_of(said)), _rollouts_shown(said), _models_shown(said), _others(said), *shown)


def _needs_shown(needs: Sequence[Need]) -> RenderableType:
    if not needs:
        return Text("nothing needs you", "green")
    rows = [(Text(each.what, "bold red"), each.model, each.text, each.do) for each in needs[:MOST_NEEDS]]
    made = table_of(f"Needs you ({len(needs)})", ("what", "model", "", "do"), rows)
    return _and_more(made, len(needs) - MOST_NEEDS)


def _rollouts_shown(said: Situation) -> RenderableType:
    if not said.rollouts:
        return Text("rollouts: none is active")
    marks = {each.model: each.watermark_ms for each in said.models}
    rows = [
        (each.model, f"{each.candidate} against {each.baseline}", each.phase.replace("_", " "), _share(each),
         _hours(held_hours(each, marks.get(each.model))), each.waiting_for or "nothing", each.id)
        for each in said.rollouts[:MOST_ROLLOUTS]
    ]  # fmt: skip
    made = table_of("Rollouts", ("model", "version", "phase", "share", "held", "waits for", "rollout"), rows)
    return _and_more(made, len(said.rollouts) - MOST_ROLLOUTS)


def _share(view: RolloutNow) -> str:
    return f"{view.canary_bp / 100:g} %" if view.canary_bp else ""


def _hours(hours: float | None) -> str:
    if hours is None:
        return ""
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} d"


def _models_shown(said: Situation) -> RenderableType:
    if not said.models:
        return Text("models: none; `serinus apply -f sla.yaml` makes one")
    rows = [
        (each.model, each.pool, each.aliases.get("stable"), each.aliases.get("previous"), event_time(each.watermark_ms))
        for each in said.models[:MOST_MODELS]
    ]
    made = table_of("Models", ("model", "pool", "stable", "previous", "labels up to"), rows)
    return _and_more(made, len(said.models) - MOST_MODELS)


def _and_more(made: RenderableType, more: int) -> RenderableType:
    return Group(made, Text(f"and {more} more (--json has all)")) if more > 0 else made


def _others(said: Situation) -> RenderableType:
    """Live replicas by role, live monitors: counts. Those that are gone are no loss: each start has a new name."""
    roles = Counter(each.role or "?" for each in said.replicas if each.live)
    replicas = ", ".join(f"{count} {role}" for role, count in sorted(roles.items())) or "none is alive"
    monitors = sum(each.live for each in said.monitors) or "none is alive"
    acting = "acting" if said.acting else "standing by"
    return Text(f"replicas: {replicas}; monitors: {monitors}; this controller is {acting}; you are {said.you or '?'}")


def add_to(app: typer.Typer) -> None:
    app.command()(status)
