"""Who the monitor is to the controller."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import httpx

from serinus.errors import Unavailable

__all__ = ["TokenFile"]


class TokenFile(httpx.Auth):
    """The bearer token of a file, read again for each request, so that it can be changed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Raises Unavailable when the file cannot be read."""
        try:
            request.headers["Authorization"] = f"Bearer {self.path.read_text().strip()}"
        except OSError as error:
            raise Unavailable(f"the token in {self.path} cannot be read: {error.strerror or error}") from error
        yield request
