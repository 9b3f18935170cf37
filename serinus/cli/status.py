"""`serinus status`: what is going on, and what needs me, in one screen."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from serinus.cli.live import EVERY_S, Watching, redrawn
from serinus.cli.needs import Need, held_hours, needs_of
from serinus.cli.output import AsJson, HomeOption, client_of, console, event_time, print_json, print_line, table_of
from serinus.cli.processes import processes_of, processes_shown
from serinus.client import Client
from serinus.errors import NotFound, SerinusError
from serinus.evidence import Evidence
from serinus.home import Home
from serinus.rollouts import RolloutView

__all__ = ["add_to"]

MOST_ASKED = 25
"""Rollouts and models that are asked about one by one."""
MOST_MODELS = 20


def status(home: HomeOption = None, watch: Watching = False, as_json: AsJson = False) -> None:
    """Show what needs you, then rollouts, models and processes.

    With --json and --watch: one line of JSON each time."""
    client = client_of(home)
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
    rollouts = client.rollouts(active=True) if said.get("rollouts") else []
    return {**found, "controller": said, "needs_me": _needs(client, said, rollouts), "rollouts": rollouts}


def _drawn(client: Client, home: Any) -> RenderableType:
    local = "SERINUS_API" not in os.environ
    shown: list[RenderableType] = []
    if local:
        at = Home(home)
        shown.append(processes_shown(at, *processes_of(at)))
    try:
        said = client.status()
    except SerinusError:
        console.print(*shown)
        raise
    rollouts = client.rollouts(active=True) if said.get("rollouts") else []
    first = _needs_shown(_needs(client, said, rollouts))
    rest = [_rollouts_shown(said, rollouts), _models_shown(said), _others(said)]
    return Group(first, *rest, *shown)


def _needs(client: Client, said: Mapping[str, Any], rollouts: Sequence[RolloutView]) -> list[Need]:
    looks: dict[str, Evidence] = {}
    for view in rollouts[:MOST_ASKED]:
        if (look := client.evidence_latest(view.id)) is not None:
            looks[view.id] = look
    busy = [view.model for view in rollouts]
    names = list(dict.fromkeys([*busy, *(str(each["model"]) for each in said.get("models", ()))]))
    healths = []
    for name in names[:MOST_ASKED]:
        try:
            healths.append(client.health(name))
        except NotFound:  # deleted meanwhile
            continue
    needs = needs_of(said, rollouts, looks, healths)
    if len(names) > MOST_ASKED:
        text = f"alerts were asked of {MOST_ASKED} of {len(names)} models"
        needs.append(Need(what="not all seen", text=text, do="serinus health MODEL"))
    return needs


def _needs_shown(needs: Sequence[Need]) -> RenderableType:
    if not needs:
        return Text("nothing needs you", "green")
    rows = [(Text(each.what, "bold red"), each.model, each.text, each.do) for each in needs]
    return table_of(f"Needs you ({len(needs)})", ("what", "model", "", "do"), rows)


def _rollouts_shown(said: Mapping[str, Any], rollouts: Sequence[RolloutView]) -> RenderableType:
    if not rollouts:
        return Text("rollouts: none is active")
    marks = {each["model"]: each.get("watermark_ms") for each in said.get("models", ())}
    rows = [
        (view.model, f"{view.candidate} against {view.baseline}", view.phase.replace("_", " "), _share(view),
         _hours(held_hours(view, marks.get(view.model))), view.waiting_for or "nothing", view.id)
        for view in rollouts
    ]  # fmt: skip
    return table_of("Rollouts", ("model", "version", "phase", "share", "held", "waits for", "rollout"), rows)


def _share(view: RolloutView) -> str:
    return f"{view.canary_bp / 100:g} %" if view.canary_bp else ""


def _hours(hours: float | None) -> str:
    if hours is None:
        return ""
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} d"


def _models_shown(said: Mapping[str, Any]) -> RenderableType:
    models = list(said.get("models", ()))
    if not models:
        return Text("models: none; `serinus apply -f sla.yaml` makes one")
    rows = [
        (each["model"], each["pool"], each["aliases"].get("stable"), each["aliases"].get("previous"),
         event_time(each.get("watermark_ms")))
        for each in models[:MOST_MODELS]
    ]  # fmt: skip
    made = table_of("Models", ("model", "pool", "stable", "previous", "labels up to"), rows)
    more = len(models) - MOST_MODELS
    return Group(made, Text(f"and {more} more (--json has all)")) if more > 0 else made


def _others(said: Mapping[str, Any]) -> RenderableType:
    """Live replicas by role, live monitors: counts. Those that are gone are no loss: each start has a new name."""
    roles = Counter(str(each.get("role", "?")) for each in said.get("replicas", ()) if each.get("live"))
    replicas = ", ".join(f"{count} {role}" for role, count in sorted(roles.items())) or "none is alive"
    monitors = sum(bool(each.get("live")) for each in said.get("monitors", ()))
    acting = "acting" if said.get("acting") else "standing by"
    you = said.get("you", "?")
    return Text(
        f"replicas: {replicas}; monitors: {monitors or 'none is alive'}; this controller is {acting}; you are {you}"
    )


def add_to(app: typer.Typer) -> None:
    app.command()(status)
