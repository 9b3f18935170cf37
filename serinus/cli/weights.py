"""`serinus weights`: what rankings are made of, and who changed it when."""

from __future__ import annotations

from typing import Annotated

import typer

from serinus.cli.complete import Model
from serinus.cli.output import AsJson, HomeOption, client_of, console, print_json, table, wall_time
from serinus.errors import BadInput
from serinus.routes import Weights

__all__ = ["add_to"]


def weights(
    model: Model,
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="[TASK=WEIGHT]...", help="All the weights; other tasks do not count.")
    ] = None,
    *,
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why; it stays in the history.")] = "",
    reset: Annotated[bool, typer.Option("--reset", help="Take all weights back: every task counts once.")] = False,
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """Show a model's ranking weights, or set all of them: a score is the product of probability ^ weight."""
    if reset and settings:
        raise BadInput("--reset takes all weights back, so it stands without any TASK=WEIGHT")
    asked = {} if reset else _parsed(settings) if settings else None
    view = client_of(home).weights(model, asked, reason)
    if as_json:
        print_json(view)
        return
    rows = [
        (line.number, _words(line.weights), line.reason, line.actor, wall_time(line.at))
        for line in view.history
    ]  # fmt: skip
    console.print(f"{model} is ranked by {_words(view.weights)}")
    if rows:
        table("", ("number", "weights", "reason", "by", "set"), rows)


def _parsed(settings: list[str]) -> Weights:
    found: Weights = {}
    for setting in settings:
        task, _, value = setting.partition("=")
        try:
            weight = float(value)
        except ValueError as error:
            raise BadInput(f"{setting!r} is no weight", "expected TASK=NUMBER, such as click=1.5") from error
        if task in found:
            raise BadInput(f"the weight of {task!r} is given twice")
        if not abs(weight) <= 100:
            raise BadInput(f"the weight of {task!r} is {value}, expected -100 to 100")
        found[task] = weight
    return found


def _words(weights: Weights) -> str:
    return " ".join(f"{task}={weight:g}" for task, weight in sorted(weights.items())) or "all tasks alike"


def add_to(app: typer.Typer) -> None:
    app.command()(weights)
