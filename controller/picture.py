"""The picture and the tables of docs/rollouts.md, made from the table of transitions.

`python -m controller.picture docs/rollouts.md` writes them anew, between the marks that name them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from serinus.rollouts import ENDS, Phase
from serinus.transitions import COMMANDS, TRANSITIONS, TRIGGERS, WHO, Transition, allowed_in

__all__ = ["drawn", "rewritten"]

ASIDE = ENDS - {Phase.DONE} | {Phase.PAUSED}
"""Phases that nearly every other one can lead to: they stand in the table, so that the picture can be read."""


def drawn() -> str:
    """The way of a rollout as a Mermaid diagram; `*`: by a person."""
    edges: dict[tuple[Phase, Phase], list[str]] = {}
    for row in TRANSITIONS:
        if not {row.start, row.to} & ASIDE:
            star = "" if row.who == "controller" else "*"
            edges.setdefault((row.start, row.to), []).append(f"{row.trigger}{star}")
    lines = [f"  {start} --> {to}: {', '.join(triggers)}" for (start, to), triggers in edges.items()]
    begins = [f"  [*] --> {phase}: start*" for phase in (Phase.PENDING, Phase.QUEUED)]
    return "\n".join(["```mermaid", "stateDiagram-v2", *begins, *lines, f"  {Phase.DONE} --> [*]", "```"])


def all_moves() -> str:
    """Every row of the table, those that differ only in where they start as one."""
    starts: dict[tuple[str, Phase, str], list[Transition]] = {}
    for row in TRANSITIONS:
        starts.setdefault((row.trigger, row.to, row.who), []).append(row)
    lines = ["| by | who | from | to | when |", "|---|---|---|---|---|"]
    for (trigger, to, who), rows in sorted(starts.items(), key=lambda each: list(TRIGGERS).index(each[1][0].trigger)):
        froms = ", ".join(f"`{row.start}`" for row in rows)
        lines.append(f"| `{trigger}` | {who} | {froms} | `{to}` | {TRIGGERS[rows[0].trigger]} |")
    return "\n".join(lines)


def commands() -> str:
    """The commands with the role that they need and the phases that take them."""
    lines = ["| command | at least | in | what it does |", "|---|---|---|---|"]
    for command in COMMANDS:
        phases = [phase for phase in Phase if command in allowed_in(phase)]
        listed = ", ".join(f"`{phase}`" for phase in phases)
        lines.append(f"| `{command}` | {WHO[command]} | {listed} | {TRIGGERS[command]} |")
    return "\n".join(lines)


def rewritten(page: str) -> str:
    """The page with what stands between its marks made anew. Raises KeyError at a mark that nobody fills."""
    parts = {"picture": drawn, "moves": all_moves, "commands": commands}

    def fill(match: re.Match[str]) -> str:
        return f"<!-- {match[1]} -->\n{parts[match[1]]()}\n<!-- /{match[1]} -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- /\1 -->", fill, page, flags=re.DOTALL)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.write_text(rewritten(place.read_text()))
