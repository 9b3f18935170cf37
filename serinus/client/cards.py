"""What the registry says of versions, aliases, SLAs and bundles."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict

from serinus.client.views import VersionView, View
from serinus.sla import Sla

__all__ = [
    "AliasMove",
    "GarbageView",
    "KeyView",
    "Lineage",
    "SlaLine",
    "SlaView",
    "UploadView",
    "VersionCard",
]


class Lineage(View):
    """Where a version comes from. `parent`: number of the version that it was made from."""

    code_revision: str | None = None
    data_window: str | None = None
    parent: int | None = None
    parent_digest: str | None = None
    created_by: str | None = None


class VersionCard(VersionView):
    """All that is known of a version. `metrics`: task -> what its maker measured, overall and by slice."""

    model_config = ConfigDict(frozen=True, extra="allow")

    model: str = ""
    tasks: tuple[Any, ...] = ()
    lineage: Lineage = Lineage()
    tags: tuple[str, ...] = ()
    notes: str = ""
    size_bytes: int | None = None
    metrics: dict[str, Any] = {}
    signatures: tuple[Any, ...] = ()
    aliases: tuple[str, ...] = ()
    etag: str = ""


class AliasMove(View):
    """One move of an alias: who, when (Unix seconds), why. `was`, `version`: None: it named nothing."""

    alias: str
    was: int | None = None
    version: int | None = None
    rollout: str | None = None
    reason: str = ""
    actor: str = ""
    at: float | None = None


class SlaView(View):
    """A model's SLA in force. `number`: how often it was set."""

    model_config = ConfigDict(frozen=True, extra="allow")

    sla: Sla
    number: int | None = None
    etag: str = ""


class SlaLine(View):
    """One setting of a model's SLA."""

    number: int = 0
    sla: dict[str, Any] = {}
    reason: str = ""
    actor: str = ""
    at: float | None = None


class UploadView(View):
    """An upload that goes on. `offset`: bytes that the server has."""

    id: str
    offset: int = 0
    size_bytes: int | None = None


class KeyView(View):
    """A public key that packages may be signed by. `fingerprint`: SHA-256 of its 32 bytes, hex."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str = ""
    fingerprint: str = ""
    revoked_at: float | None = None


class GarbageView(View):
    """What was deleted, or would be."""

    model_config = ConfigDict(frozen=True, extra="allow")

    dry_run: bool = False
