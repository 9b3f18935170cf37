"""The processes of the local stack, as its supervisor knows them."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from serinus.cli.output import table_of, wall_time
from serinus.home import Home, StackState

__all__ = ["processes_of", "processes_shown"]


def processes_of(home: Home) -> tuple[StackState | None, bool]:
    """(What the supervisor last wrote, whether it lives)."""
    return home.state(), home.supervisor() is not None


def processes_shown(home: Home, state: StackState | None, alive: bool) -> RenderableType:
    """A line when all is well, a table of what is not."""
    if state is None:
        return Text()
    if not alive and state.phase not in {"stopped", "failed"}:
        said = f"the supervisor in {home.path} has died; `serinus up` clears up and starts again"
        return Text(said, "red")
    stack = home.stack()
    grpc = f", grpc: {stack.grpc}" if stack is not None and stack.grpc else ""
    rows = [
        (each.name, each.state.replace("_", " "), each.pid, each.restarts, wall_time(each.since), each.ended)
        for each in state.processes
    ]
    columns = ("process", "state", "pid", "restarts", "since", "last ended")
    return Group(
        table_of(f"Processes ({state.phase})", columns, rows), Text(f"logs: {home.logs}{grpc}", overflow="fold")
    )
