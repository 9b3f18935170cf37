"""The commands put together, and the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import os
import sys

import click
import typer

from serinus.cli import explain, labels, models, rollouts, stack
from serinus.cli.output import HomeOption, complain
from serinus.errors import SerinusError

__all__ = ["app", "main"]

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


for part in (stack, models, rollouts, explain, labels):
    part.add_to(app)


def main(arguments: list[str] | None = None) -> None:
    """Run a command and end the process: 0; 1 an error (what and what to do are on stderr); 2 wrong usage, or a
    rollout that was watched to an end other than `done`; 130 after Ctrl-C."""
    try:
        sys.exit(app(args=arguments, standalone_mode=False) or 0)
    except SerinusError as error:
        complain(error.detail, error.advice)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        complain("stopped by Ctrl-C; what the server began goes on")
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
