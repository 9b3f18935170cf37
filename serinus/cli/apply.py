"""`serinus apply`: an SLA, or models and rollouts as YAML, the same that a cluster takes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from serinus.cli.output import AsJson, HomeOption, client_of, complain, console, print_json
from serinus.cli.watching import follow
from serinus.client import AsyncClient
from serinus.errors import BadInput
from serinus.resources.manifests import KINDS, AnyResource, read_manifests
from serinus.resources.models import apply_model
from serinus.resources.outcome import Outcome
from serinus.resources.pool import ServingPool
from serinus.resources.preview import preview, preview_sla
from serinus.resources.rollout import Rollout
from serinus.resources.rollouts import REFUSED, apply_rollout
from serinus.sla import Sla
from serinus.yaml_files import MAX_YAML_BYTES, read_documents

__all__ = ["add_to"]

MOST_FILES = 1_000


def apply(
    file: Annotated[
        Path,
        typer.Option("--file", "-f", help="An SLA, or resources: YAML, a folder of it, or - for stdin."),
    ],
    pool: Annotated[str | None, typer.Option(help="Serving pool of the model, with an SLA (default).")] = None,
    signed_by: Annotated[
        list[str] | None,
        typer.Option(help="Name of a key that must have signed every version, with an SLA; again for others."),
    ] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow a rollout to its end; exit codes of rollout watch.")
    ] = False,
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """Bring about what a file asks for: a model with an SLA, or models and rollouts as for a cluster."""
    slas, resources = _read(file)
    if resources and (pool is not None or signed_by is not None):
        raise BadInput("--pool and --signed-by go with an SLA", "a resource says both itself: `pool`, `signed_by`")
    if dry_run:
        told = asyncio.run(_previewed(home, slas, pool or "default", signed_by, resources))
        _tell_preview(told, as_json)
        return
    _apply_slas(slas, pool or "default", signed_by, home, as_json)
    if not resources:
        return
    done = asyncio.run(_applied(home, resources, quiet=as_json))
    code = _followed(done, home, quiet=as_json) if wait else 0
    if as_json:
        print_json([_plain(resource, outcome) for resource, outcome in done])
    if any(outcome.status.get("phase") == REFUSED for _, outcome in done):
        code = 1
    if code:
        raise typer.Exit(code)


def _read(file: Path) -> tuple[list[Sla], list[AnyResource]]:
    """The SLAs and the resources of a file, of a folder or of stdin. Raises BadInput."""
    slas, resources = list[Sla](), list[AnyResource]()
    for text, source in _texts(file):
        documents = [each.value for each in read_documents(text, source)]
        if any(isinstance(each, dict) and {"kind", "apiVersion"} & each.keys() for each in documents):
            resources += read_manifests(text, source)
        else:
            slas.append(Sla.from_yaml(text, source))
    order = list(KINDS)
    return slas, sorted(resources, key=lambda each: order.index(each.kind))


def _texts(file: Path) -> Iterator[tuple[str, str]]:
    if str(file) == "-":
        yield sys.stdin.read(MAX_YAML_BYTES + 1), "stdin"
        return
    if not file.exists():
        raise typer.BadParameter(f"{file} does not exist", param_hint="--file")
    files = [file]
    if file.is_dir():
        files = sorted(each for each in file.iterdir() if each.suffix in (".yaml", ".yml") and each.is_file())
        files = [each for each in files if each.stem != "kustomization"]
        if not files or len(files) > MOST_FILES:
            raise BadInput(f"{file} has {len(files)} files of YAML", f"1 to {MOST_FILES}; deeper folders are not read")
    for each in files:
        if each.stat().st_size > MAX_YAML_BYTES:
            raise BadInput(f"{each} is larger than {MAX_YAML_BYTES} bytes")
        yield each.read_text(), str(each)


def _apply_slas(slas: list[Sla], pool: str, signed_by: list[str] | None, home: Path | None, as_json: bool) -> None:
    for sla in slas:
        view = client_of(home).apply(sla, pool, signed_by=signed_by)
        if as_json:
            print_json(view)
        else:
            console.print(f"{view.model}: {len(sla.tasks)} tasks, {len(sla.cells())} cells are guarded")


async def _previewed(
    home: Path | None, slas: list[Sla], pool: str, signed_by: list[str] | None, resources: list[AnyResource]
) -> list[tuple[str, str, tuple[str, ...]]]:
    async with AsyncClient(home=home) as client:
        told = [("MultiTaskModel", sla.model, await preview_sla(client, sla, pool, signed_by)) for sla in slas]
        return told + [(each.kind, each.metadata.name, await preview(client, each)) for each in resources]


def _tell_preview(told: list[tuple[str, str, tuple[str, ...]]], as_json: bool) -> None:
    if as_json:
        print_json([{"kind": kind, "name": name, "would": list(lines)} for kind, name, lines in told])
        return
    for kind, name, lines in told:
        for line in lines or ("nothing",):
            console.print(f"{kind} {name}: would {escape(line)}" if lines else f"{kind} {name}: {line}", soft_wrap=True)


async def _applied(
    home: Path | None, resources: list[AnyResource], *, quiet: bool
) -> list[tuple[AnyResource, Outcome]]:
    """One after the other, models first. Raises SerinusError at the first that does not go."""
    done = list[tuple[AnyResource, Outcome]]()
    async with AsyncClient(home=home) as client:
        for each in resources:
            if isinstance(each, ServingPool):
                text = "not changed: without a cluster a pool is what `serinus up` or `python -m serving` starts"
                complain(f"ServingPool {each.metadata.name}: {text}", "in a cluster: kubectl apply")
                continue
            bare = each.model_copy(update={"status": {}})  # what a file says of its status is old
            outcome = await (apply_rollout(client, bare) if isinstance(bare, Rollout) else apply_model(client, bare))
            done.append((each, outcome))
            if not quiet:
                _tell(each, outcome)
    return done


def _tell(resource: AnyResource, outcome: Outcome) -> None:
    name = f"{resource.kind} {resource.metadata.name}"
    for told in outcome.told:
        if told.type == "Warning":
            complain(f"{name}: {told.reason}: {told.text}")
        else:
            console.print(f"{name}: {told.reason}: {escape(told.text)}", soft_wrap=True)
    if not outcome.told:
        ready = next(each for each in outcome.conditions if each.type == "Ready")
        console.print(f"{name}: unchanged; {ready.reason}: {escape(ready.message)}", soft_wrap=True)


def _followed(done: list[tuple[AnyResource, Outcome]], home: Path | None, *, quiet: bool) -> int:
    """Each rollout to its end; the exit code of the first that was not promoted, else 0."""
    client, codes = client_of(home), []
    for _, outcome in done:
        if rollout := outcome.status.get("id"):
            codes.append(follow(client, client.rollout(str(rollout)), quiet=quiet)[1])
    return next((code for code in codes if code), 0)


def _plain(resource: AnyResource, outcome: Outcome) -> dict[str, Any]:
    return {
        "kind": resource.kind,
        "name": resource.metadata.name,
        "status": outcome.status,
        "conditions": [each.model_dump() for each in outcome.conditions],
        "told": [{"type": each.type, "reason": each.reason, "text": each.text} for each in outcome.told],
    }


def add_to(app: typer.Typer) -> None:
    app.command()(apply)
