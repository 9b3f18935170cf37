# Made by `python serinus/client/twin.py` from serinus/client/aio: edit there.
"""Uploads in pieces: each goes on where the last one broke off, in this process or in the next."""

from __future__ import annotations

from typing import Any

from serinus.client.answers import RETRIES_S, passing
from serinus.client.archive import Archive, Progress
from serinus.client.blocking.base import Base
from serinus.client.cards import UploadView
from serinus.client.pauses import sleep
from serinus.client.views import VersionView
from serinus.errors import SerinusError
from serinus.signing import Signature

__all__ = ["Uploads"]

PIECE_BYTES = 4 << 20
TRANSFER_S = 600.0


class Uploads(Base):
    def upload(
        self, model: str, archive: Archive, progress: Progress | None = None, signature: Signature | None = None
    ) -> VersionView:
        """Send a package in pieces, and register it. The same package goes on where its upload stands.

        Raises what the server says of the package, Unavailable when it cannot be reached for long."""
        begun = self.upload_start(model, archive, signature)
        at, failures = begun.offset, 0
        while at < archive.size_bytes:
            try:
                piece = archive.read(at, PIECE_BYTES)
                at = (self.upload_piece(begun.id, at, piece)).offset
                failures = 0
            except SerinusError as error:
                if failures >= len(RETRIES_S) or not (passing(error) or error.status in {409, 503}):
                    raise
                sleep(RETRIES_S[failures])
                failures += 1
                at = (self.upload_state(begun.id)).offset
            if progress is not None:
                progress(at, archive.size_bytes)
        answer = self.api.write("POST", f"/v1/uploads/{begun.id}/finish", timeout=TRANSFER_S)
        return VersionView.model_validate(answer)

    def upload_start(self, model: str, archive: Archive, signature: Signature | None = None) -> UploadView:
        """Begin an upload, or find the one of the same bytes that was begun."""
        body: dict[str, Any] = {"digest": archive.sha256, "size_bytes": archive.size_bytes}
        if signature is not None:
            body["signatures"] = [signature.model_dump(mode="json")]
        return UploadView.model_validate(self.api.write("POST", f"/v1/models/{model}/uploads", body))

    def upload_state(self, upload: str) -> UploadView:
        return UploadView.model_validate(self.api.read(f"/v1/uploads/{upload}"))

    def upload_piece(self, upload: str, offset: int, piece: bytes) -> UploadView:
        """Send bytes that begin at `offset`. It is not tried again by itself: ask where the upload stands."""
        headers = {"upload-offset": str(offset), "content-type": "application/octet-stream"}
        answer = self.api.call("PATCH", f"/v1/uploads/{upload}", content=piece, headers=headers, timeout=120.0)
        return UploadView.model_validate(answer)
