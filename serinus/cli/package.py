"""`serinus package`: a plain ONNX model as a package, checked as a push would check it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from serinus.cli.output import AsJson, console, print_json
from serinus.errors import BadInput, Unavailable
from serinus.package import digest_of
from serinus.yaml_files import read_yaml

__all__ = ["add_to"]

File = Path | None
KINDS = ("binary", "regression", "multiclass")


def package(
    description: Annotated[File, typer.Argument(help="package.yaml.", exists=True, dir_okay=False)] = None,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the new package.")],
    onnx: Annotated[File, typer.Option(help="One graph with named outputs.")] = None,
    preprocess: Annotated[File, typer.Option(help="A graph before it, or before the encoder.")] = None,
    encoder: Annotated[File, typer.Option(help="The graph whose outputs the heads read.")] = None,
    head: Annotated[list[str] | None, typer.Option(metavar="TASK=FILE", help="A graph for each task.")] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(metavar="TASK=KIND[:OUTPUT]", help="click=binary:p; KIND binary, regression, multiclass."),
    ] = None,
    sample: Annotated[File, typer.Option(help="Some rows of raw inputs: .json, .ndjson, .parquet.")] = None,
    validation: Annotated[
        File, typer.Option(help="Rows with a column of labels named as each task: what monitors compare with.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Wrap an ONNX model with its preprocessing as a package, and check it; `push` registers it.

    A package.yaml can say more (activation, classes, base rates); what is given here goes before it."""
    try:
        from serinus.training.describe import Description  # noqa: PLC0415 (needs what only training installs)
        from serinus.training.wrap import wrap  # noqa: PLC0415
    except ImportError as error:
        raise Unavailable(f"{error.name} is not installed", 'pip install "serinus[training]"') from error
    files = {"onnx": onnx, "preprocess": preprocess, "encoder": encoder, "sample": sample, "validation": validation}
    told: dict[str, Any] = {name: str(file.absolute()) for name, file in files.items() if file is not None}
    told |= _several(head, task)
    base = Path.cwd()
    if description is not None:
        base = description.absolute().parent
        found = read_yaml(Description, description.read_text(), str(description))
        told = {**found.model_dump(exclude_unset=True), **told}
    try:
        wanted = Description.model_validate(told)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise BadInput(f"{where}: {first['msg']}" if where else first["msg"], "serinus package --help") from error
    manifest = wrap(wanted, out, base=base)
    if as_json:
        print_json({"folder": str(out), "digest": digest_of(out), "manifest": manifest})
        return
    console.print(f"{out}: {len(manifest.parts)} parts, checked (sha256 {digest_of(out)[:12]})", soft_wrap=True)
    for each in manifest.inputs:
        console.print(f"  reads  {each.name} {each.datatype} {list(each.shape) or ''}", markup=False)
    for spec in manifest.tasks:
        console.print(f"  gives  {spec.name} ({spec.kind}), base rate {_rate(spec.base_rate)}", markup=False)
    if validation is None and wanted.validation is None:
        console.print("without --validation nothing can be compared with what it saw in training", style="yellow")
    console.print(f"next:  serinus push MODEL {out}", markup=False, soft_wrap=True)


def _several(heads: list[str] | None, tasks: list[str] | None) -> dict[str, Any]:
    """The options that may be given again. Raises BadInput."""
    told: dict[str, Any] = {}
    for each in heads or ():
        name, _, file = each.partition("=")
        if not file:
            raise BadInput(f"--head {each!r}: expected TASK=FILE")
        told.setdefault("heads", {})[name] = str(Path(file).absolute())
    for each in tasks or ():
        name, _, rest = each.partition("=")
        kind, _, output = rest.partition(":")
        if kind not in KINDS:
            raise BadInput(f"--task {each!r}: expected TASK=KIND or TASK=KIND:OUTPUT", f"KIND is one of {KINDS}")
        told.setdefault("tasks", {})[name] = {"kind": kind, **({"output": output} if output else {})}
    return told


def _rate(rate: Any) -> str:
    return ", ".join(f"{each:.3g}" for each in rate) if isinstance(rate, tuple | list) else f"{rate:.3g}"


def add_to(app: typer.Typer) -> None:
    app.command()(package)
