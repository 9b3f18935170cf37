"""`serinus rollout watch`: a rollout to its end, by events, or by asking again and again where there are none."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.markup import escape

from serinus.cli.complete import Which
from serinus.cli.exits import ENDED, INTERRUPTED, TIMED_OUT
from serinus.cli.output import AsJson, HomeOption, client_of, complain, console, event_time, print_json
from serinus.cli.which import active_or
from serinus.client import Client
from serinus.errors import SerinusError
from serinus.rollouts import Move, Phase, RolloutView

__all__ = ["follow", "line_of", "now_of", "watch"]

EVERY_S, QUIET_S = 0.5, 5.0
"""Between two questions where the server sends no events, and where it does."""


def watch(
    which: Which,
    timeout_s: Annotated[float | None, typer.Option(help="Give up after so long (exit code 7).")] = None,
    through_approval: Annotated[
        bool, typer.Option("--through-approval", help="Go on when it awaits approval: somebody else gives it.")
    ] = False,
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """Follow a rollout to its end.

    Exit code 0: promoted; 3: rolled back; 4: aborted; 5: superseded; 6: it awaits approval; 7: timeout; 130: Ctrl-C."""
    client = client_of(home)
    view, code = follow(client, active_or(client, which), timeout_s, through_approval=through_approval, quiet=as_json)
    if as_json:
        print_json(view)
    raise typer.Exit(code)


def follow(
    client: Client,
    view: RolloutView,
    timeout_s: float | None = None,
    *,
    through_approval: bool = False,
    quiet: bool = False,
) -> tuple[RolloutView, int]:
    """A rollout as it is at its end, and the exit code that says which. `quiet`: its moves are not printed.

    Ends the command with code 130 at Ctrl-C."""
    until = time.monotonic() + timeout_s if timeout_s is not None else None
    stops = ENDED.keys() - ({Phase.AWAITING_APPROVAL} if through_approval else set())
    told = 0
    try:
        with console.status(now_of(view)) as shown:
            for now in _views(client, view, until):
                view = now
                for move in () if quiet else view.history[told:]:
                    console.print(line_of(move), soft_wrap=True)
                told = len(view.history)
                shown.update(now_of(view))
                if view.phase in stops:
                    break
    except KeyboardInterrupt:
        complain(f"rollout {view.id} goes on", f"come back with `serinus rollout watch {view.id}`; end it with `abort`")
        raise typer.Exit(INTERRUPTED) from None
    if view.phase not in stops:
        complain(f"rollout {view.id} is still {view.phase}", f"it waits for: {view.waiting_for}")
        return view, TIMED_OUT
    if view.phase == Phase.AWAITING_APPROVAL and not quiet:
        complain(f"rollout {view.id} awaits approval: {view.waiting_for}", f"serinus rollout approve {view.id} -m WHY")
    return view, ENDED[view.phase]


def _views(client: Client, view: RolloutView, until: float | None) -> Iterator[RolloutView]:
    """The rollout now, then whenever it may have changed, until the time is over."""
    bell: queue.Queue[bool] = queue.Queue()
    threading.Thread(target=_listen, args=(client, view.id, bell), daemon=True).start()
    every_s = EVERY_S
    while True:
        yield view
        left = every_s if until is None else min(every_s, until - time.monotonic())
        if left <= 0:
            return
        try:
            every_s = QUIET_S if bell.get(timeout=left) else EVERY_S
            while True:  # several events are one question
                bell.get_nowait()
        except queue.Empty:
            pass
        view = client.rollout(view.id)


def _listen(client: Client, rollout: str, bell: queue.Queue[bool]) -> None:
    """Ring at each event; False once there are none to be had."""
    try:
        for _ in client.rollout_events(rollout):
            bell.put(True)
    except (SerinusError, RuntimeError):  # RuntimeError: the client was closed meanwhile
        bell.put(False)


def line_of(move: Move) -> str:
    """A move, for people."""
    when = event_time(move.event_ms) or "-"
    why, actor = escape(move.why), escape(move.actor)
    return f"[dim]{when:16}[/dim]  {move.start} -> [bold]{move.to}[/bold]  {why}  [dim]({actor})[/dim]"


def now_of(view: RolloutView) -> str:
    """Where a rollout is, for people."""
    share = f", canary {view.canary_bp / 100:g} %" if view.canary_bp else ""
    waits = f"; waits for {view.waiting_for}" if view.waiting_for else ""
    behind = f"; behind {', '.join(view.queued_behind)}" if view.queued_behind else ""
    return escape(f"{view.model} version {view.candidate}: {view.phase}{share}{waits}{behind}")
