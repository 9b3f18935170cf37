"""`serinus versions list | show | tag | note | delete`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from serinus.cli.complete import Model, Version
from serinus.cli.output import AsJson, HomeOption, Reason, client_of, console, print_json, table, wall_time
from serinus.client.cards import VersionCard

__all__ = ["add_to", "confirmed"]

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


class _ListByDefault(TyperGroup):
    """`serinus versions MODEL` lists."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["list", *args]
        return super().parse_args(ctx, args)


group = typer.Typer(help="Versions of a model.", no_args_is_help=True, cls=_ListByDefault)


def confirmed(question: str, yes: bool) -> None:
    """Ask, unless `yes`; ends with code 1 at a no. Nobody to ask is a no."""
    if not yes:
        typer.confirm(question, abort=True)


@group.command("list")
def list_(model: Model, home: HomeOption = None, as_json: AsJson = False) -> None:
    """List the versions of a model, and which of them its aliases name."""
    client = client_of(home)
    found, aliases = client.versions(model), client.model(model).aliases
    if as_json:
        print_json({"versions": found, "aliases": aliases})
        return
    rows = [
        (each.version, ", ".join(name for name, its in aliases.items() if its == each.version), each.digest[:12],
         wall_time(each.created_at))
        for each in found
    ]  # fmt: skip
    table("", ("version", "alias", "sha256", "registered"), rows)


@group.command()
def show(model: Model, version: Version, home: HomeOption = None, as_json: AsJson = False) -> None:
    """Show all that is known of a version: where it comes from, its tags, metrics, signatures."""
    card = client_of(home).version(model, version)
    if as_json:
        print_json(card)
    else:
        _tell(model, card)


@group.command()
def tag(
    model: Model,
    version: Version,
    tags: Annotated[list[str], typer.Argument(metavar="TAG...", help="Such as approved, or team=ads.")],
    *,
    remove: Annotated[bool, typer.Option("--remove", help="Take them away.")] = False,
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """Add tags to a version, or take some away; others stay."""
    client = client_of(home)
    card = client.version(model, version)
    kept = [each for each in card.tags if each not in tags]
    card = client.version_edit(model, version, tags=kept if remove else [*kept, *tags], if_match=card.etag)
    if as_json:
        print_json(card)
    else:
        said = ", ".join(card.tags) or "no tags"
        console.print(f"{model} version {version}: {said}", markup=False, soft_wrap=True)


@group.command()
def note(
    model: Model,
    version: Version,
    text: Annotated[str, typer.Argument(help="What others should know of it; it replaces what stood there.")],
    home: HomeOption = None,
) -> None:
    """Write down what others should know of a version."""
    client = client_of(home)
    client.version_edit(model, version, notes=text, if_match=client.version(model, version).etag)
    console.print(f"{model} version {version}: noted", markup=False)


@group.command()
def delete(model: Model, version: Version, reason: Reason = "", yes: Yes = False, home: HomeOption = None) -> None:
    """Delete a version. Refused while an alias, a rollout or a replica names it."""
    confirmed(f"Delete {model} version {version}? Its number is never given again.", yes)
    client_of(home).version_delete(model, version, reason)
    console.print(f"{model} version {version} is deleted", markup=False)


def _tell(model: str, card: VersionCard) -> None:
    known = {
        "sha256": card.digest,
        "registered": wall_time(card.created_at),
        "by": card.lineage.created_by,
        "aliases": ", ".join(card.aliases),
        "code": card.lineage.code_revision,
        "data": card.lineage.data_window,
        "made from": card.lineage.parent,
        "size": card.size_bytes and f"{card.size_bytes / 1e6:.1f} MB",
        "tags": ", ".join(card.tags),
        "signed by": ", ".join(str(_signer(each)) for each in card.signatures) or "nobody",
        "notes": card.notes,
    }
    console.print(f"{model} version {card.version}", style="bold", markup=False)
    for name, value in known.items():
        if value:
            console.print(f"  {name:<11} {value}", markup=False, soft_wrap=True)
    rows = [
        (task, place, metric, value)
        for task, places in card.metrics.items()
        for place, metrics in places.items()
        for metric, value in metrics.items()
    ]
    if rows:
        table("what its maker measured", ("task", "slice", "metric", "value"), rows)


def _signer(signature: Any) -> Any:
    if isinstance(signature, dict):
        name = str(signature.get("key") or str(signature.get("fingerprint"))[:12])
        return name if signature.get("good", True) else f"{name} (does not count: {signature.get('why')})"
    return signature


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="versions")
