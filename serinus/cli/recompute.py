"""`serinus explain --recompute`: are the looks that moves rest on what comes out when they are made again?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape

from serinus.cli.output import console, event_time
from serinus.cli.waiting import waited
from serinus.client import Client
from serinus.errors import JobFailed
from serinus.evidence import Evidence
from serinus.rollouts import Move

__all__ = ["made_again", "tell_again"]


def made_again(
    client: Client, history: tuple[Move, ...], found: Mapping[str, Evidence], *, quiet: bool
) -> list[dict[str, Any]]:
    """One result for each look that a move rests on, in their order: `equal`, True or False; None: nobody can tell,
    `why` says the reason."""
    results: list[dict[str, Any]] = []
    for digest in dict.fromkeys(move.evidence for move in history if move.evidence):
        look = found.get(digest)
        if look is None:
            why = "no evidence of this rollout has the digest that the move was written down with"
            results.append({"digest": digest, "tick_ms": None, "equal": False, "why": why})
            continue
        try:
            job = waited(client, client.recompute(look), quiet=quiet)
            results.append(job.result or {})
        except JobFailed as error:
            results.append({"digest": digest, "tick_ms": look.tick_ms, "equal": False, "why": error.detail})
    return results


def tell_again(results: list[dict[str, Any]]) -> bool:
    """A line for each; False where one is not what it was."""
    console.print("\nre-computed:")
    for each in results:
        when = event_time(each.get("tick_ms")) or "?"
        text = f"  evidence {str(each.get('digest'))[:12]} of {when}: "
        match each.get("equal"):
            case True:
                text += "equal, to the last bit"
            case None:
                text += f"cannot be: {each.get('why')}"
            case _ if "field" in each:
                text += f"NOT equal: {each['field']} was reported as {each['reported']}, and is {each['found']}"
            case _:
                text += f"NOT equal: {each.get('why')}"
        console.print(escape(text), soft_wrap=True)
    if not results:
        console.print("  no move rests on evidence yet")
    return all(each.get("equal") is not False for each in results)
