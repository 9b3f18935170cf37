"""The tables of the registry beside models and versions. Wall times: Unix seconds."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Text
from sqlalchemy.orm import Mapped, mapped_column

from controller.base import AsJson, Base
from serinus.diff import Measured
from serinus.signing import Signature
from serinus.sla import Sla

__all__ = ["KeyRow", "PackageRow", "SignatureRow", "SlaRow", "UploadRow", "VersionCardRow"]


class VersionCardRow(Base):
    """What is told of a version beside its manifest. Only tags and notes ever change.

    `measured`: from its baseline.json; None: a version from before cards, whose package is read when asked.
    `imported`: where a bundle came from."""

    __tablename__ = "version_cards"
    __table_args__ = (ForeignKeyConstraint(["model", "number"], ["versions.model", "versions.number"]),)
    model: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    created_by: Mapped[str]
    measured: Mapped[Measured | None] = mapped_column(AsJson(Measured))
    tags: Mapped[tuple[str, ...]] = mapped_column(AsJson(tuple[str, ...]))
    notes: Mapped[str] = mapped_column(Text)
    imported: Mapped[dict[str, Any] | None] = mapped_column(AsJson(dict[str, Any]))


class SlaRow(Base):
    """Every SLA that a model had; the one with the greatest number is in force."""

    __tablename__ = "slas"
    model: Mapped[str] = mapped_column(ForeignKey("models.name"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sla: Mapped[Sla] = mapped_column(AsJson(Sla))
    reason: Mapped[str]
    actor: Mapped[str]
    at: Mapped[float]


class KeyRow(Base):
    """A public key that packages may be signed by. A revoked one stays, so that its name means one key for ever."""

    __tablename__ = "keys"
    name: Mapped[str] = mapped_column(primary_key=True)
    public: Mapped[str]
    fingerprint: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[float]
    created_by: Mapped[str]
    revoked_at: Mapped[float | None]
    revoked_by: Mapped[str | None]


class SignatureRow(Base):
    """A signature of a package, checked when it came and again whenever it counts."""

    __tablename__ = "signatures"
    digest: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    body: Mapped[Signature] = mapped_column(AsJson(Signature))
    actor: Mapped[str]
    at: Mapped[float]


class UploadRow(Base):
    """An upload that goes on, or whose answer may have been lost: `version` is what it became.

    `digest`: SHA-256 of the whole tar, hex. Its bytes lie in the spool, whose length is the offset."""

    __tablename__ = "uploads"
    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"), index=True)
    digest: Mapped[str]
    size_bytes: Mapped[int]
    signatures: Mapped[tuple[Signature, ...]] = mapped_column(AsJson(tuple[Signature, ...]))
    actor: Mapped[str]
    created_at: Mapped[float]
    expires_at: Mapped[float] = mapped_column(index=True)
    version: Mapped[int | None]
    package: Mapped[str | None]


class PackageRow(Base):
    """A package that is stored, about to be, or about to go. `held_until`: a push may be about to name it.

    `removing_at`: since when somebody removes its files; a push of the same package waits for the end."""

    __tablename__ = "packages"
    digest: Mapped[str] = mapped_column(primary_key=True)
    held_until: Mapped[float]
    removing_at: Mapped[float | None]
