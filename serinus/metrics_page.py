"""The declared metrics as the table of docs/metrics.md: `python -m serinus.metrics_page` prints it."""

from __future__ import annotations

from serinus.metrics import CONTROLLER, MONITOR, SERVING, Declared

__all__ = ["table"]

ROOMS = (("Serving", SERVING), ("Monitor", MONITOR), ("Controller", CONTROLLER))


def table() -> str:
    """Markdown: one section a room."""
    return "\n".join(_section(name, declared) for name, declared in ROOMS)


def _section(name: str, declared: tuple[Declared, ...]) -> str:
    rows = [f"| `{each.name}` | {each.kind} | {', '.join(each.labels)} | {each.help} |" for each in declared]
    return "\n".join([f"### {name}", "", "| metric | kind | labels | |", "|---|---|---|---|", *rows, ""])


if __name__ == "__main__":
    print(table(), end="")
