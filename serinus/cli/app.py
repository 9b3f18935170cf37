"""The commands put together, and the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import os
import signal
import sys

import typer

from serinus.cli import (
    alias,
    apply,
    audit,
    backtest,
    bundles,
    diff,
    doctor,
    explain,
    get,
    grafana,
    health,
    jobs,
    keys,
    labels,
    logs,
    models,
    package,
    plan,
    quantize,
    rollouts,
    stack,
    status,
    tokens,
    upkeep,
    versions,
    weights,
)
from serinus.cli.exits import INTERRUPTED
from serinus.cli.output import HomeOption, complain
from serinus.errors import SerinusError

__all__ = ["app", "main", "run"]

app = typer.Typer(
    name="serinus",
    help="Registry and rollout controller for multi-task models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def _everywhere(home: HomeOption = None) -> None:
    """Registry and rollout controller for multi-task models."""
    if home is not None:
        os.environ["SERINUS_HOME"] = str(home.absolute())  # where the command's own --home looks next


PARTS = (
    *(stack, status, doctor, apply, get, models, versions, alias, diff, package, quantize, bundles, keys, weights),
    *(rollouts, explain, health, plan, backtest, jobs, labels, logs, audit, tokens, upkeep, grafana),
)
for part in PARTS:
    part.add_to(app)


def main(arguments: list[str] | None = None) -> None:
    """Run a command and end the process: 0; 1 an error (what and what to do are on stderr); 2 wrong usage; 3 to 7 a
    rollout that was watched (`serinus.cli.exits`); 130 after Ctrl-C."""
    try:
        app(args=arguments)
    except SerinusError as error:
        complain(error.detail, error.advice)
        sys.exit(1)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            complain("stopped by Ctrl-C; what the server has begun goes on")
        raise


def run() -> None:
    """`main`, as the process that people start."""
    try:
        main()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the work is done: Ctrl-C finds an interpreter that only ends
