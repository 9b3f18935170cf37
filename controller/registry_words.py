"""The bodies of requests and answers of the registry."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from controller.words import Pushed, Reason
from serinus.diff import Measured
from serinus.package import Precision
from serinus.signing import Digest, Signature
from serinus.sla import Sla
from serinus.tasks import Name, Word

__all__ = [
    "AliasBody",
    "Aliases",
    "CardBody",
    "CardView",
    "GarbageBody",
    "Imported",
    "ImportedFrom",
    "KeyBody",
    "KeyView",
    "LineageView",
    "SignatureView",
    "SlaLine",
    "UploadBody",
    "UploadView",
]

Tag = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]


class LineageView(Word):
    """Where a version comes from. `parent`: its number in this model, where it is a version of it."""

    code_revision: str | None
    data_window: str | None
    parent: int | None
    parent_digest: str | None
    created_by: str | None


class SignatureView(Word):
    """`key`: name of the key; None: no longer known. `good`: it counts now. `why`: what is wrong with it."""

    key: str | None
    fingerprint: str
    good: bool
    why: str
    actor: str
    at: float


class ImportedFrom(Word):
    """Where a bundle came from: model, version and who wrote it when (Unix seconds), as it says itself."""

    model: str
    version: int
    exported_at: float
    exported_by: str
    bundle: Digest


class CardView(Word):
    """All that is told of a version. `metrics`: what its maker measured. `size_bytes`: of its files."""

    model: Name
    version: int
    digest: str
    tasks: tuple[str, ...]
    precision: Precision
    size_bytes: int
    resident_bytes: int | None
    lineage: LineageView
    provenance: dict[str, str]
    imported_from: ImportedFrom | None
    tags: tuple[str, ...]
    notes: str
    metrics: Measured
    signatures: tuple[SignatureView, ...]
    aliases: tuple[str, ...]
    created_at: float


class CardBody(Word):
    """What may change of a version. None: stays."""

    tags: Annotated[tuple[Tag, ...], Field(max_length=64)] | None = None
    notes: Annotated[str, Field(max_length=20_000)] | None = None


class AliasBody(Word):
    version: Annotated[int, Field(ge=1, lt=2**63)]
    reason: Reason = ""


class Aliases(Word):
    """Alias -> version, as they are now."""

    model: Name
    aliases: dict[str, int]


class SlaLine(Word):
    """One SLA that a model had, or has."""

    model: Name
    number: int
    sla: Sla
    reason: str
    actor: str
    at: float


class KeyBody(Word):
    """`public_key`: of Ed25519, PEM or base64 of its 32 bytes."""

    public_key: Annotated[str, Field(min_length=1, max_length=16_384)]


class KeyView(Word):
    """`public`: base64 of 32 bytes. `fingerprint`: their SHA-256, hex. `revoked_at`: None while it counts."""

    name: Name
    public: str
    fingerprint: str
    created_at: float
    created_by: str
    revoked_at: float | None
    revoked_by: str | None


class UploadBody(Word):
    """`digest`: SHA-256 of the whole tar, hex. `signatures`: of the package in it."""

    digest: Digest
    size_bytes: Annotated[int, Field(ge=1, lt=2**63)]
    signatures: Annotated[tuple[Signature, ...], Field(max_length=16)] = ()


class UploadView(Word):
    """`offset`: bytes that the server has; send what follows. `expires_at`: Unix seconds. `version`: once finished."""

    id: str
    model: Name
    offset: int
    size_bytes: int
    expires_at: float
    version: int | None


class GarbageBody(Word):
    """`dry_run`: only say what would go."""

    dry_run: bool = True


class Imported(Pushed):
    """`sla`: the model was created with the bundle's, has the same one, or keeps its own."""

    model: Name
    sla: Literal["created", "same", "kept"]
    signatures: tuple[str, ...]
    imported_from: dict[str, Any]
