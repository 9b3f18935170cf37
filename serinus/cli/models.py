"""`serinus push | promote | rollback`: models and what is stable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serinus.cli.complete import Model, Version
from serinus.cli.keys import signed
from serinus.cli.output import AsJson, HomeOption, Reason, client_of, console, print_json
from serinus.cli.transfer import transfer
from serinus.errors import BadInput
from serinus.package import digest_of

__all__ = ["Model", "add_to"]


def push(
    model: Model,
    folder: Annotated[Path, typer.Argument(help="The package.", exists=True, file_okay=False)],
    key: Annotated[
        Path | None, typer.Option("--key", "-k", help="Sign it by this private key.", exists=True, dir_okay=False)
    ] = None,
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """Register a package as a version. The same package again is the same version."""
    signature = signed(digest_of(folder), key) if key is not None else None
    with transfer("pushing", f"serinus push {model} {folder}", quiet=as_json) as progress:
        version = client_of(home).push(model, folder, progress, signature=signature)
    if as_json:
        print_json(version)
    else:
        known = "" if version.created else ", which was registered already"
        console.print(f"{model} version {version.version}{known}  (sha256 {version.digest[:12]})")


def promote(
    model: Model,
    version: Version,
    reason: Reason = "",
    initial: Annotated[bool, typer.Option("--initial", help="The model has no stable version yet.")] = False,
    home: HomeOption = None,
) -> None:
    """Make a version stable at once, without evidence: the first one, or with a reason."""
    if not initial and not reason:
        raise BadInput(
            "a promotion without evidence needs a reason", "--reason TEXT, or --initial for the first version"
        )
    client_of(home).promote(model, version, reason, initial)
    console.print(f"{model} version {version} is stable")


def rollback(model: Model, reason: Reason, home: HomeOption = None) -> None:
    """Go back at once: from the active rollout to its baseline, else to the previous stable version."""
    client = client_of(home)
    view = client.rollback(model, reason)
    stable = client.model(model).aliases.get("stable")
    what = f"rollout {view.id} is {view.phase}" if view is not None else "the previous version is back"
    console.print(f"{model}: {what}; stable is version {stable}")


def add_to(app: typer.Typer) -> None:
    for command in (push, promote, rollback):
        app.command()(command)
