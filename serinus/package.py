"""The package: a folder of exported graphs that is one immutable version of a model.

    manifest.json    what is in it: raw inputs, a DAG of parts, tasks, and the SHA-256 of every other file
    parts/*.onnx     the graphs
    sample.json      raw inputs with the outputs they must give: {"inputs": {name: [...]}, "outputs": {task: [...]}}
    baseline.json    validation metrics per task

The digest of a version is the SHA-256 of its manifest's bytes, which name the digest of every other file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from serinus.errors import InvalidPackage
from serinus.tasks import InputSpec, Name, TaskSpec, Word

__all__ = [
    "MANIFEST",
    "MAX_FILES",
    "MAX_MANIFEST_BYTES",
    "FileEntry",
    "Manifest",
    "Part",
    "Precision",
    "digest_of",
    "parse_manifest",
    "read_manifest",
    "sha256_of",
    "write_manifest",
]

MANIFEST = "manifest.json"
MAX_FILES, MAX_MANIFEST_BYTES = 256, 1 << 20

Precision = Literal["fp32", "fp16", "int8"]
FilePath = Annotated[str, Field(pattern=r"^(parts/)?[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]


class FileEntry(Word):
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size_bytes: Annotated[int, Field(ge=0)]


class Part(Word):
    """One graph. `inputs` and `outputs` name tensors of the package's DAG, in the order of the graph's own.

    The raw inputs are tensors too, by their names; every other tensor is the output of exactly one part.
    `cache`: its outputs may be kept for a moment and given to other requests with the same inputs."""

    name: Name
    role: Literal["preprocess", "encoder", "head", "mixer", "tower"]
    file: FilePath
    inputs: tuple[str, ...]
    outputs: Annotated[tuple[str, ...], Field(min_length=1)]
    cache: bool = False


class Manifest(Word):
    """What a package is. Format 1. `resident_bytes`: what it takes in memory once loaded, measured when it was made."""

    format: Literal[1] = 1
    inputs: Annotated[tuple[InputSpec, ...], Field(min_length=1, max_length=4096)]
    parts: Annotated[tuple[Part, ...], Field(min_length=1, max_length=512)]
    tasks: Annotated[tuple[TaskSpec, ...], Field(min_length=1, max_length=256)]
    precision: Precision = "fp32"
    resident_bytes: Annotated[int, Field(ge=0)] | None = None
    provenance: dict[str, str] = {}
    files: dict[FilePath, FileEntry]

    def model_post_init(self, _context: Any, /) -> None:
        for kind, names in (("input", self.inputs), ("part", self.parts), ("task", self.tasks)):
            seen = [item.name for item in names]
            if twice := {name for name in seen if seen.count(name) > 1}:
                raise ValueError(f"{kind} {sorted(twice)[0]!r} is declared twice")
        if missing := {part.file for part in self.parts} - self.files.keys():
            raise ValueError(f"the file of a part, {sorted(missing)[0]!r}, is not listed in files")
        for needed in ("sample.json", "baseline.json"):
            if needed not in self.files:
                raise ValueError(f"{needed} is not listed in files")
        self.plan([task.name for task in self.tasks])

    def task(self, name: str) -> TaskSpec:
        """The task of that name. Raises KeyError when the package has none."""
        return {task.name: task for task in self.tasks}[name]

    @property
    def task_names(self) -> tuple[str, ...]:
        return tuple(task.name for task in self.tasks)

    def plan(self, tasks: Iterable[str]) -> tuple[Part, ...]:
        """The parts that these tasks need, each after those whose tensors it reads.

        Raises ValueError when a tensor has no source, two sources, or depends on itself."""
        source: dict[str, Part | None] = {spec.name: None for spec in self.inputs}
        for part in self.parts:
            for tensor in part.outputs:
                if tensor in source:
                    raise ValueError(f"tensor {tensor!r} has two sources")
                source[tensor] = part
        order: dict[str, Part] = {}
        open_: set[str] = set()

        def visit(tensor: str, reader: str) -> None:
            if tensor not in source:
                raise ValueError(f"{reader} reads tensor {tensor!r}, which nothing gives")
            part = source[tensor]
            if part is None or part.name in order:
                return
            if part.name in open_:
                raise ValueError(f"part {part.name!r} depends on itself")
            open_.add(part.name)
            for name in part.inputs:
                visit(name, f"part {part.name!r}")
            order[part.name] = part

        for name in tasks:
            visit(self.task(name).output, f"task {name!r}")
        return tuple(order.values())


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(folder: Path) -> str:
    """The version's digest: SHA-256 of the manifest's bytes, hex."""
    return sha256_of(folder / MANIFEST)


def write_manifest(folder: Path, manifest: dict[str, Any]) -> Manifest:
    """List every file of `folder` in the manifest, check it and write it last."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    files = {
        path.relative_to(folder).as_posix(): {"sha256": sha256_of(path), "size_bytes": path.stat().st_size}
        for path in paths
    }
    checked = parse_manifest(json.dumps({**manifest, "files": files}))
    (folder / MANIFEST).write_text(checked.model_dump_json(indent=1) + "\n")
    return checked


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a package whose every file is there, complete and unaltered.

    Raises InvalidPackage that says which file or field is wrong."""
    path = folder / MANIFEST
    if not path.is_file():
        raise InvalidPackage(f"{MANIFEST} is missing")
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise InvalidPackage(f"{MANIFEST} is larger than {MAX_MANIFEST_BYTES} bytes")
    manifest = parse_manifest(path.read_bytes())
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {MANIFEST}
    if extra := present - manifest.files.keys():
        raise InvalidPackage(f"{sorted(extra)[0]} is in the package but not in its manifest")
    for name, entry in manifest.files.items():
        if name not in present:
            raise InvalidPackage(f"{name} is listed in the manifest but missing")
        if (folder / name).stat().st_size != entry.size_bytes or sha256_of(folder / name) != entry.sha256:
            raise InvalidPackage(f"{name} was altered: its SHA-256 is not the manifest's")
    return manifest


def parse_manifest(text: str | bytes) -> Manifest:
    """A manifest from its JSON, without a look at the files. Raises InvalidPackage that names the field."""
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"]) or MANIFEST
        raise InvalidPackage(f"{where}: {first['msg'].removeprefix('Value error, ')}") from error
