"""Versions: pushed, described, compared, carried to another Serinus."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from serinus.client.aio.uploads import Uploads
from serinus.client.answers import known
from serinus.client.archive import Archive, Progress
from serinus.client.cards import GarbageView, KeyView, VersionCard
from serinus.client.files import pieces_of
from serinus.client.views import ImportedView, VersionView
from serinus.diff import VersionDiff
from serinus.signing import Signature

__all__ = ["Versions"]

WHOLE_BYTES = 8 << 20
"""A smaller package is sent by one request; a larger one in pieces, which goes on where it broke off."""
TRANSFER_S = 600.0


class Versions(Uploads):
    async def push(
        self,
        model: str,
        folder: Path | str,
        progress: Progress | None = None,
        *,
        signature: Signature | None = None,
    ) -> VersionView:
        """Register the package in `folder` as a version. The same package again is the same version.

        `signature`: of its digest (`serinus.signing`); a model may demand one.

        Raises InvalidPackage before anything is sent when a file is missing or altered."""
        archive = Archive.of(Path(folder))
        if archive.size_bytes > WHOLE_BYTES:
            return await self.upload(model, archive, progress, signature)
        headers = {"content-type": "application/x-tar", "content-length": str(archive.size_bytes)}
        if signature is not None:
            headers["serinus-signature"] = signature.model_dump_json()
        answer = await self.api.write(
            "POST",
            f"/v1/models/{model}/versions",
            stream=partial(archive.pieces, progress=progress),
            headers=headers,
            timeout=TRANSFER_S,
        )
        return VersionView.model_validate(answer)

    async def fetch(self, model: str, uri: str, digest: str | None = None) -> VersionView:
        """Let the controller register the package that lies at a URI. `digest`: what it must have; None: anything."""
        body = {"uri": uri} if digest is None else {"uri": uri, "digest": digest}
        answer = await self.api.write("POST", f"/v1/models/{model}/versions/fetch", body, timeout=TRANSFER_S)
        return VersionView.model_validate(answer)

    async def versions(self, model: str, digest: str | None = None) -> list[VersionView]:
        """The oldest first. `digest`: the one with this package."""
        found = self.api.pages(f"/v1/models/{model}/versions", digest=digest)
        return [VersionView.model_validate(each) async for each in found]

    async def version(self, model: str, version: int) -> VersionCard:
        """All that is known of a version."""
        found, etag = await self.api.read_tagged(f"/v1/models/{model}/versions/{version}")
        return VersionCard.model_validate({**found, "etag": etag})

    async def version_edit(
        self,
        model: str,
        version: int,
        *,
        tags: Sequence[str] | None = None,
        notes: str | None = None,
        if_match: str | None = None,
    ) -> VersionCard:
        """Replace tags, notes, or both; what is None stays."""
        asked = {"tags": None if tags is None else list(tags), "notes": notes}
        body = {name: value for name, value in asked.items() if value is not None}
        path = f"/v1/models/{model}/versions/{version}"
        return VersionCard.model_validate(await self.api.write("PATCH", path, body, if_match=if_match))

    async def version_delete(self, model: str, version: int, reason: str = "", if_match: str | None = None) -> None:
        """Delete a version. Refused while an alias, an active rollout or a replica names it."""
        path = f"/v1/models/{model}/versions/{version}"
        await self.api.write("DELETE", path, params={"reason": reason} if reason else {}, if_match=if_match)

    async def diff(self, model: str, old: int, new: int) -> VersionDiff:
        """Two versions compared: metrics by task and slice, inputs, tasks, size, precision."""
        return known(VersionDiff, await self.api.read(f"/v1/models/{model}/diff", old=old, new=new))

    async def export(self, model: str, version: int, file: Path | str) -> int:
        """Write a version with SLA, evidence and signatures to a file (a tar). Gives its size in bytes.

        The file is there only when all of it has come."""
        file = Path(file)
        part = file.with_name(f".{file.name}.{os.getpid()}.part")
        try:
            with part.open("wb") as out:
                async for piece in self.api.download(f"/v1/models/{model}/versions/{version}/bundle"):
                    out.write(piece)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
        return file.stat().st_size

    async def import_bundle(self, model: str, file: Path | str, progress: Progress | None = None) -> ImportedView:
        """Register what `export` wrote: the same package is the same version."""
        file = Path(file)
        headers = {"content-type": "application/x-tar", "content-length": str(file.stat().st_size)}
        answer = await self.api.write(
            "POST",
            f"/v1/models/{model}/bundles",
            stream=partial(pieces_of, file, progress),
            headers=headers,
            timeout=TRANSFER_S,
        )
        return ImportedView.model_validate(answer)

    async def sign(self, model: str, version: int, signature: Mapping[str, Any]) -> VersionCard:
        """Add a signature to a version, as `serinus.signing` makes it."""
        path = f"/v1/models/{model}/versions/{version}/signatures"
        return VersionCard.model_validate(await self.api.write("POST", path, dict(signature)))

    async def keys(self) -> list[KeyView]:
        """The public keys that packages may be signed by."""
        return [KeyView.model_validate(each) async for each in self.api.pages("/v1/keys")]

    async def key(self, name: str) -> KeyView:
        return KeyView.model_validate(await self.api.read(f"/v1/keys/{name}"))

    async def key_set(self, name: str, public: str) -> None:
        """Let packages be signed by this Ed25519 public key."""
        await self.api.write("PUT", f"/v1/keys/{name}", {"public_key": public})

    async def key_delete(self, name: str) -> None:
        await self.api.write("DELETE", f"/v1/keys/{name}")

    async def garbage(self, dry_run: bool = True) -> GarbageView:
        """Delete stored packages that no version names. `dry_run`: only say which."""
        return GarbageView.model_validate(await self.api.write("POST", "/v1/garbage", {"dry_run": dry_run}))
