"""`serinus grafana sync`: dashboards, data source and marks of transitions, into your Grafana."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from serinus.cli.output import AsJson, HomeOption, client_of, console, print_json, table
from serinus.errors import BadInput, Unavailable
from serinus.home import Home

__all__ = ["add_to"]

group = typer.Typer(help="Dashboards in your Grafana.", no_args_is_help=True)
MOST_ROLLOUTS = 200


@group.command("sync")
def synced(
    url: Annotated[str, typer.Option(envvar="SERINUS_GRAFANA_URL", help="Of the Grafana: http://HOST:3000.")],
    *,
    token_file: Annotated[
        Path | None,
        typer.Option(help="Token of a service account, role Editor or Admin (or $SERINUS_GRAFANA_TOKEN).", exists=True),
    ] = None,
    prometheus: Annotated[
        str, typer.Option(help="URL of the Prometheus, as Grafana reaches it; left out: choose the data source there.")
    ] = "",
    webhook: Annotated[str, typer.Option(help="URL that Grafana's alerts are to be sent to.")] = "",
    marks: Annotated[bool, typer.Option(help="Mark the transitions of rollouts.")] = True,
    dry_run: Annotated[bool, typer.Option(help="Change nothing; show what would be.")] = False,
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """Bring folder, data source, dashboards and marks to what this release has; run it as often as you like."""
    grafana = _grafana()
    token = token_file.read_text().strip() if token_file else os.environ.get("SERINUS_GRAFANA_TOKEN", "").strip()
    if not token:
        raise BadInput(
            "there is no token for Grafana", "make a service account there; --token-file, or $SERINUS_GRAFANA_TOKEN"
        )
    rollouts = client_of(home).rollouts(limit=MOST_ROLLOUTS) if marks and _controller_known(home) else []
    wanted = grafana.Wanted(prometheus=prometheus, webhook=webhook, rollouts=tuple(rollouts))
    done = grafana.sync(grafana.connect(url, token), wanted, dry_run=dry_run)
    if as_json:
        print_json(done)
        return
    rows = [(each.kind, each.name, each.what, "\n".join(each.changes)) for each in done]
    table("It would be so" if dry_run else "Grafana", ("", "name", "what", "changes"), rows)
    changed = sum(each.what != "same" for each in done)
    console.print(f"{changed} of {len(done)} {'would change' if dry_run else 'changed'}", markup=False)


def _controller_known(home: Path | None) -> bool:
    return "SERINUS_API" in os.environ or Home(home).stack() is not None


def _grafana() -> ModuleType:
    try:
        from serinus.grafana import sync  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise Unavailable(f"the extra `grafana` is missing: {error.name}", "pip install 'serinus[grafana]'") from error
    return sync


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="grafana")
