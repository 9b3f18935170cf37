"""Style, script and icons: files of ours, under a name with their hash, so that browsers may keep them for ever."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from serinus.errors import NotFound

__all__ = ["asset", "asset_url"]

FOLDER = Path(__file__).parent / "static"
KINDS = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@cache
def _known() -> dict[str, tuple[bytes, str]]:
    """Hashed name -> (bytes, content type)."""
    return {_hashed(path): (path.read_bytes(), KINDS[path.suffix]) for path in FOLDER.iterdir() if path.suffix in KINDS}


def _hashed(path: Path) -> str:
    return f"{path.stem}.{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}{path.suffix}"


@cache
def asset_url(name: str) -> str:
    return f"/console/assets/{_hashed(FOLDER / name)}"


def asset(request: Request) -> Response:
    """Raises NotFound."""
    found = _known().get(request.path_params["name"])
    if found is None:
        raise NotFound("there is no such file")
    return Response(found[0], media_type=found[1], headers={"Cache-Control": "public, max-age=31536000, immutable"})
