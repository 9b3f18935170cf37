"""`serinus export | import`: a version with SLA, evidence and signatures, from one Serinus to another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serinus.cli.complete import Model, Version
from serinus.cli.output import AsJson, HomeOption, client_of, console, print_json
from serinus.cli.transfer import transfer
from serinus.client.views import ImportedView
from serinus.errors import BadInput

__all__ = ["add_to"]


def export(
    model: Model,
    version: Version,
    *,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The file (MODEL-VERSION.tar).")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """Write a version with its SLA, its last rollout's evidence and its signatures to a file."""
    file = out or Path(f"{model}-{version}.tar")
    if file.exists() and not force:
        raise BadInput(f"{file} exists already", "choose another --out, or --force to replace it")
    with console.status("exporting"):
        size = client_of(home).export(model, version, file)
    if as_json:
        print_json({"file": str(file), "size_bytes": size})
    else:
        console.print(f"{file}: {size / 1e6:.1f} MB", markup=False, soft_wrap=True)
        console.print(f"next, over there:  serinus import {model} {file}", markup=False, soft_wrap=True)


def import_(
    model: Model,
    file: Annotated[Path, typer.Argument(help="What `export` wrote.", exists=True, dir_okay=False)],
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """Register the version of a file that `export` wrote. The same package is the same version."""
    with transfer("importing", f"serinus import {model} {file}", quiet=as_json) as progress:
        version = client_of(home).import_bundle(model, file, progress)
    if as_json:
        print_json(version)
    else:
        known = "" if version.created else ", which was registered already"
        console.print(f"{model} version {version.version}{known}  (sha256 {version.digest[:12]})", markup=False)
        for line in _came_with(version):
            console.print(line, markup=False, soft_wrap=True)


FATES = {
    "created": "SLA: the bundle's, for the model was made with it",
    "same": "SLA: the bundle's is the one in force here",
    "kept": "SLA: the one in force here; the bundle's is another one, and is kept with the version",
}


def _came_with(version: ImportedView) -> list[str]:
    """What became of the rest of the bundle, one line each."""
    told = version.imported_from
    signers = ", ".join(version.signatures) or "nobody whose key is known here (`serinus keys add`)"
    lines = [FATES[version.sla]] if version.sla in FATES else []
    lines.append(f"signed by: {signers}")
    if told:
        lines.append(f"from: version {told.get('version')} of {told.get('model')}, by {told.get('exported_by')}")
    return lines


def add_to(app: typer.Typer) -> None:
    app.command()(export)
    app.command("import")(import_)
