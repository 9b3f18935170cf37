"""`serinus explain`: why a rollout is where it is, move by move, with the numbers."""

from __future__ import annotations

import math
from typing import Annotated

import typer
from rich.markup import escape

from serinus.cli.complete import Which
from serinus.cli.output import AsJson, HomeOption, client_of, console, event_time, print_json
from serinus.cli.recompute import made_again, tell_again
from serinus.cli.which import active_or
from serinus.evidence import CellEvidence, Evidence
from serinus.rollouts import Move

__all__ = ["add_to"]


def explain(
    which: Which,
    *,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Make those looks again from what the monitor kept, and compare.")
    ] = False,
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """Tell the chain of moves of a rollout, with the evidence that each rests on.

    With --recompute it ends with code 1 where a look is not what was reported, bit for bit."""
    client = client_of(home)
    view = active_or(client, which)
    used = {move.evidence for move in view.history if move.evidence}
    looks = client.evidence_pages(view.id) if used else ()
    found = {digest: look for look in looks if (digest := look.digest) in used}
    again = made_again(client, view.history, found, quiet=as_json) if recompute else []
    if as_json:
        told = {"rollout": view, "evidence": [found[digest] for digest in sorted(found)]}
        print_json({**told, "recomputed": again} if recompute else told)
        if any(each.get("equal") is False for each in again):
            raise typer.Exit(1)
        return
    console.print(
        f"[bold]{view.model}[/bold] version {view.candidate} against version {view.baseline}, rollout {view.id}"
    )
    for move in view.history:
        _tell(move, found.get(move.evidence or ""))
    if view.waiting_for:
        console.print(f"now {view.phase}, waiting for: {escape(view.waiting_for)}")
        if (newest := client.evidence_latest(view.id)) is not None:
            _show(newest)
    if recompute and not tell_again(again):
        raise typer.Exit(1)


def _tell(move: Move, look: Evidence | None) -> None:
    when = event_time(move.event_ms) or "-"
    console.print(
        f"\n{when}  {move.start} -> [bold]{move.to}[/bold]  {escape(move.why)}  [dim]by {escape(move.actor)}[/dim]",
        soft_wrap=True,
    )
    if look is not None:
        _show(look)


def _show(look: Evidence) -> None:
    """The look's sum, then the cells that carried it: the culprits first, then the required ones."""
    first, last = event_time(look.first_event_ms), event_time(look.watermark_ms)
    console.print(
        f"  evidence of {first} to {last}, looked at {event_time(look.tick_ms)}: "
        f"E = {look.e:.3g}, it rolls back at {look.limit:g}",
        soft_wrap=True,
    )
    carried = [cell for cell in look.cells if cell.name in look.culprits]
    culprits = [cell for cell in carried if cell.labels or cell.verdict == "violated"]
    others = [cell for cell in look.cells if cell.role == "required" and cell not in culprits]
    for cell in (*culprits, *others):
        _line(cell, cell in culprits)


def _line(cell: CellEvidence, culprit: bool) -> None:
    """Two lines a cell: what was compared and found, then how sure that is and on what it rests."""
    style = "bold red" if culprit else ""
    found = f"    {cell.name} ({cell.stream}): {_number(cell.baseline_value)} -> {_number(cell.candidate_value)}"
    verdict = f"{cell.verdict}, carried this" if culprit else cell.verdict
    console.print(found, verdict, style=style, markup=False, soft_wrap=True)
    sure = f"worse by {_number(cell.estimate)}, between {_number(cell.low)} and {_number(cell.high)}"
    said = f"e {_number(cell.e_violated)}, {cell.labels:,} labels, {cell.positives:,} positives"
    console.print(f"      {sure}; margin {_number(cell.margin)}; {said}", style="dim", markup=False, soft_wrap=True)
    if cell.why and cell.low is None:
        console.print(f"      {cell.why}", style="dim", markup=False, soft_wrap=True)


def _number(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "?"
    return f"{value:.3g}"


def add_to(app: typer.Typer) -> None:
    app.command()(explain)
