"""A bundle: one tar that carries a version, with what is known of it, from one registry to another.

    bundle.json                  what this is, and size and SHA-256 of every other file
    card.json                    tags, notes, lineage, as the registry that wrote it told them
    sla.json                     the SLA in force there
    rollout.json evidence.json   its last rollout, and the looks that decided it; left out when there was none
    signatures/FINGERPRINT.json  signatures of the package
    package/...                  the package, as it was pushed

What it tells of itself is a claim: whoever imports it checks the files, the package and the signatures, and believes
nobody the rest. So card, rollout and evidence are kept as told, and decide nothing.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from serinus.errors import InvalidPackage
from serinus.evidence import Evidence
from serinus.package import MANIFEST, FileEntry, digest_of, sha256_of
from serinus.rollouts import Move
from serinus.signing import Digest, Signature
from serinus.sla import Sla
from serinus.tasks import Name, Word

__all__ = ["BUNDLE", "PATH", "Bundle", "BundledRollout", "Card", "Contents", "read_bundle", "write_bundle"]

BUNDLE = "bundle.json"
PATH = re.compile(
    r"(bundle|card|sla|rollout|evidence)\.json"
    r"|signatures/[0-9a-f]{64}\.json"
    r"|package/(parts/)?[A-Za-z0-9][A-Za-z0-9_.-]{0,127}"
)
"""Every path that a bundle may have."""
MAX_HEAD_BYTES, MAX_JSON_BYTES = 1 << 20, 32 << 20
Text = Annotated[str, Field(max_length=200)]
Told = TypeVar("Told", bound=BaseModel)


class Bundle(Word):
    """`bundle.json`. Format 1. `digest`: of the package. `exported_at`: Unix seconds."""

    format: Literal[1] = 1
    model: Name
    version: Annotated[int, Field(ge=1)]
    digest: Digest
    exported_at: Annotated[float, Field(allow_inf_nan=False)]
    exported_by: Text
    files: Annotated[dict[str, FileEntry], Field(max_length=400)]


class Card(Word):
    """What the other registry told of the version. `created_by`, `created_at`: who pushed it there, and when."""

    tags: Annotated[tuple[Annotated[str, Field(max_length=128)], ...], Field(max_length=64)] = ()
    notes: Annotated[str, Field(max_length=20_000)] = ""
    created_by: Text = ""
    created_at: Annotated[float, Field(allow_inf_nan=False)] = 0.0


class BundledRollout(Word):
    """How the version fared there. `history`: every transition."""

    id: Text
    candidate: int
    baseline: int
    phase: Text
    verdict: str | None
    history: tuple[Move, ...]


class Contents(Word):
    """A bundle that was read: every file is what `bundle.json` says, and the package the one whose digest it names."""

    head: Bundle
    head_sha256: Digest
    card: Card
    sla: Sla
    rollout: BundledRollout | None
    evidence: tuple[Evidence, ...]
    signatures: tuple[Signature, ...]


def write_bundle(target: Path, package: Path, head: Bundle, told: Mapping[str, bytes]) -> Bundle:
    """Write the tar: the head (its `files` are filled in), what is told (path -> JSON), the folder `package`."""
    files: dict[str, FileEntry] = {}
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as archive:
        found = {f"package/{p.relative_to(package).as_posix()}": p for p in package.rglob("*") if p.is_file()}
        for path, text in told.items():
            files[path] = FileEntry(sha256=hashlib.sha256(text).hexdigest(), size_bytes=len(text))
        for path, file in found.items():
            files[path] = FileEntry(sha256=sha256_of(file), size_bytes=file.stat().st_size)
        head = head.model_copy(update={"files": dict(sorted(files.items()))})
        _add(archive, BUNDLE, (head.model_dump_json(indent=1) + "\n").encode())
        for path, text in sorted(told.items()):
            _add(archive, path, text)
        for path, file in sorted(found.items()):
            _add(archive, path, file)
    return head


def read_bundle(folder: Path) -> Contents:
    """The bundle whose tar was unpacked to `folder`, every file checked. Raises InvalidPackage that names the file."""
    head = _read(folder, BUNDLE, Bundle, MAX_HEAD_BYTES)
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {BUNDLE}
    if other := sorted(present ^ head.files.keys()):
        where = "in the bundle but not listed" if other[0] in present else "listed but missing"
        raise InvalidPackage(f"{other[0]} is {where} in {BUNDLE}")
    for name, entry in head.files.items():
        file = folder / name
        if not PATH.fullmatch(name) or file.stat().st_size != entry.size_bytes or sha256_of(file) != entry.sha256:
            raise InvalidPackage(f"{name} was altered: its SHA-256 is not the one in {BUNDLE}")
    if f"package/{MANIFEST}" not in present or digest_of(folder / "package") != head.digest:
        raise InvalidPackage("the package in the bundle is not the one that it names")
    evidence = folder / "evidence.json"
    return Contents(
        head=head,
        head_sha256=sha256_of(folder / BUNDLE),
        card=_read(folder, "card.json", Card),
        sla=_read(folder, "sla.json", Sla),
        rollout=_read(folder, "rollout.json", BundledRollout) if "rollout.json" in present else None,
        evidence=_looks(evidence) if "evidence.json" in present else (),
        signatures=tuple(_read(folder, name, Signature) for name in sorted(present) if name.startswith("signatures/")),
    )


def _read(folder: Path, name: str, kind: type[Told], most: int = MAX_JSON_BYTES) -> Told:
    path = folder / name
    if not path.is_file() or path.stat().st_size > most:
        raise InvalidPackage(f"{name} is missing in the bundle, or has more than {most} bytes")
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise _wrong(name, error) from error


def _looks(path: Path) -> tuple[Evidence, ...]:
    if path.stat().st_size > MAX_JSON_BYTES:
        raise InvalidPackage(f"{path.name} has more than {MAX_JSON_BYTES} bytes")
    try:
        return TypeAdapter(tuple[Evidence, ...]).validate_json(path.read_bytes())
    except ValidationError as error:
        raise _wrong(path.name, error) from error


def _wrong(name: str, error: ValidationError) -> InvalidPackage:
    first = error.errors()[0]
    where = ".".join(str(step) for step in first["loc"])
    return InvalidPackage(f"{name}: {where}: {first['msg'].removeprefix('Value error, ')}")


def _add(archive: tarfile.TarFile, name: str, content: bytes | Path) -> None:
    """No owner and no time: the same version at the same moment gives the same bytes."""
    info = tarfile.TarInfo(name)
    info.mode = 0o644
    if isinstance(content, bytes):
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
        return
    info.size = content.stat().st_size
    with content.open("rb") as file:
        archive.addfile(info, file)
