"""Packages read through the controller, by those who cannot see its store: SERINUS_API, with SERINUS_TOKEN_FILE."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import httpx

__all__ = ["ApiFiles", "package_uri"]

TIMEOUT_S = 30.0


def package_uri(digest: str) -> str:
    """The URI of a package that is read so."""
    return f"serinus://packages/{digest}"


class ApiFiles:
    """As a file system of fsspec, as far as reading files whole from their beginning goes."""

    @contextmanager
    def open(self, path: str, _mode: str = "rb") -> Iterator[_Body]:
        """`path`: packages/DIGEST/NAME. Raises FileNotFoundError, OSError when the controller does not give it."""
        api, file = os.environ.get("SERINUS_API"), os.environ.get("SERINUS_TOKEN_FILE")
        if not api:
            raise OSError("SERINUS_API is not set, so packages cannot be read through the controller")
        headers = {"authorization": f"Bearer {Path(file).read_text().strip()}"} if file else {}
        url = f"{api.rstrip('/')}/v1/{quote(path)}"
        try:
            with httpx.stream("GET", url, headers=headers, timeout=TIMEOUT_S) as answer:
                if answer.status_code == 404:
                    raise FileNotFoundError(f"the controller has no {path}")
                if answer.status_code != 200:
                    raise OSError(f"the controller answered {answer.status_code} for {path}")
                yield _Body(answer.iter_bytes(1 << 18))
        except httpx.HTTPError as error:
            raise OSError(f"{path} broke off: {error or type(error).__name__}") from error


class _Body:
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._left = pieces, b""

    def read(self, size: int) -> bytes:
        """At most `size` bytes; b"" at the end."""
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._left = piece
        taken, self._left = self._left[:size], self._left[size:]
        return taken
