"""The commands put together, and the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import os
import sys

import typer

from serinus.cli import backtest, explain, health, jobs, labels, models, plan, quantize, rollouts, stack, weights
from serinus.cli.output import HomeOption, complain
from serinus.errors import SerinusError

__all__ = ["app", "main"]

INTERRUPTED = 130

app = typer.Typer(
    name="serinus",
    help="Registry and rollout controller for multi-task models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _everywhere(home: HomeOption = None) -> None:
    """Registry and rollout controller for multi-task models."""
    if home is not None:
        os.environ["SERINUS_HOME"] = str(home.absolute())  # where the command's own --home looks next


for part in (stack, models, weights, quantize, rollouts, explain, health, plan, backtest, jobs, labels):
    part.add_to(app)


def main(arguments: list[str] | None = None) -> None:
    """Run a command and end the process: 0; 1 an error (what and what to do are on stderr); 2 wrong usage, or a
    rollout that was watched to an end other than `done`; 130 after Ctrl-C."""
    try:
        app(args=arguments)
    except SerinusError as error:
        complain(error.detail, error.advice)
        sys.exit(1)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            complain("stopped by Ctrl-C; what the server has begun goes on")
        raise
