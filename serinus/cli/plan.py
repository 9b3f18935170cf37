"""`serinus plan`: before a rollout starts, how long it will take and what can never be decided."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from serinus.cli.complete import Model
from serinus.cli.output import AsJson, HomeOption, client_of, console, print_json, table
from serinus.cli.waiting import waited
from serinus.errors import BadInput
from serinus.sla import Sla

__all__ = ["SlaFile", "add_to", "sla_of", "tell_plan"]

SlaFile = Annotated[
    Path | None, typer.Option("--sla", help="Another SLA than the model's, YAML.", exists=True, dir_okay=False)
]
MIB = 1 << 20


def plan(
    model: Model,
    *,
    candidate: Annotated[int | None, typer.Option(min=1, help="The version that is meant to be rolled out.")] = None,
    regression: Annotated[float | None, typer.Option(help="How far the AUC falls that should be caught.")] = None,
    days: Annotated[float, typer.Option(help="Days of logs to look at.")] = 14.0,
    per_day: Annotated[float | None, typer.Option(help="Requests a day, in place of what the logs say.")] = None,
    base_rate: Annotated[
        list[str] | None, typer.Option(help="With --per-day: share of positives, 0.02 or TASK=0.02.")
    ] = None,
    correlation: Annotated[float | None, typer.Option(help="Of both versions' scores; else measured, or .95.")] = None,
    sla: SlaFile = None,
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """Say how long a rollout will take and until a regression is caught, for each guard, before it starts."""
    client = client_of(home)
    told = {"days": days, "per_day": per_day, "base_rate": _rates(base_rate), "correlation": correlation}
    job = waited(client, client.plan(model, candidate, regression, sla_of(sla), **told), quiet=as_json)
    if as_json:
        print_json(job.result)
    else:
        tell_plan(job.result or {})


def sla_of(file: Path | None) -> Sla | None:
    return None if file is None else Sla.from_yaml(file.read_text(), str(file))


def _rates(said: list[str] | None) -> float | dict[str, float] | None:
    """0.02 of every task, or TASK=0.02 of each."""
    if not said:
        return None
    try:
        if len(said) == 1 and "=" not in said[0]:
            return float(said[0])
        return {task: float(rate) for task, rate in (each.split("=", 1) for each in said)}
    except ValueError as error:
        raise BadInput(f"--base-rate {' '.join(said)}: expected 0.02, or TASK=0.02 for each task") from error


def tell_plan(result: Mapping[str, Any]) -> None:
    """The plan for people: traffic, guards, what would help, memory."""
    tasks = [
        (name, _count(of["labels_per_day"]), _count(of["positives_per_day"]), of["base_rate"], of["auc"],
         of["correlation"], of["correlation_from"], f"{of['label_days']:.3g}")
        for name, of in result["tasks"].items()
    ]  # fmt: skip
    table(
        f"{result['model']}: {_count(result['answers_per_day'])} answers a day ({result['from']})",
        ("task", "labels/day", "positives/day", "base rate", "AUC", "correlation", "from", "label days"),
        tasks,
    )
    rows = [
        (of["name"], of["stream"], of["role"], of["margin"], _need(of["promote"], of["unit"]), _catch(of),
         "" if of["decidable"] == "yes" else of["decidable"])
        for of in result["guards"]
    ]  # fmt: skip
    table("", ("guard", "stream", "role", "margin", "promoted after", "caught after", "undecided"), rows)
    for of in result["guards"]:
        if of["why"] and (of["role"] == "required" or of["decidable"] == "never"):
            helps = f"; it would help: {', or '.join(of['helps'])}" if of["helps"] else ""
            console.print(escape(f"{of['name']} ({of['stream']}): {of['why']}{helps}"), soft_wrap=True)
    for of in result["small"]:
        said = f"{of['task']} / {of['slice']}: {of['positives']:.0f} positives in the longest rollout"
        console.print(escape(f"{said}, {of['missing']:.0f} more are needed to be sure of much"), soft_wrap=True)
    _whole(result)


def _whole(result: Mapping[str, Any]) -> None:
    promotion, (low, high) = result["promotion"], result["shocks"]
    console.print(
        f"promotion after {_days(promotion['days'])} (not before {promotion['least_days']:g}), "
        f"the slowest is {promotion['waits_for'] or 'the plan itself'}",
        style="bold",
        soft_wrap=True,
    )
    console.print(
        f"The first number is for users who come one by one; storms, weekends and releases move all of them at once: "
        f"real flights needed {low:g} to {high:g} times as many labels, and the second number is for {high:g}.",
        style="dim",
    )
    memory = result["memory"]
    kept, most = memory["kept_bytes"] / MIB, memory["limit_bytes"] / MIB
    console.print(f"memory of the monitor: {kept:,.0f} MiB at most, of {most:,.0f}")
    if memory["fewer_bins"]:
        first, more = memory["fewer_bins"][:10], len(memory["fewer_bins"]) - 10
        rest = f" and {more} more" if more > 0 else ""
        console.print(escape(f"a coarser variance, for it would be too much: {', '.join(first)}{rest}"), soft_wrap=True)


def _need(need: Mapping[str, Any] | None, unit: str) -> str:
    if need is None:
        return ""
    return f"{_days(need['days'])}, {_count(need['count'])} {unit}"


def _catch(of: Mapping[str, Any]) -> str:
    return "" if of["catch"] is None else f"{of['catch']['size']:.3g}: {_need(of['catch'], of['unit'])}"


def _days(days: list[float | None]) -> str:
    low, high = (None if day is None else f"{day:.1f}" for day in days)
    if low is None:
        return "never"
    if high is None:
        return f"{low} d or never"
    return f"{low} d" if high == low else f"{low} to {high} d"


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def add_to(app: typer.Typer) -> None:
    app.command()(plan)
