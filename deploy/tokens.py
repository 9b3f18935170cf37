"""The tokens of a local stack: made once, kept in files of their owner, known to the controller by their SHA-256."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from pathlib import Path

from serinus.home import Home

__all__ = ["ROLES", "ensure_tokens", "sha256_hex", "token_file"]

ROLES = ("admin", "replica", "monitor")
"""Tokens of the controller, each named as its role; `replay` is the serving side's own."""


def token_file(home: Home, name: str) -> Path:
    return home.tokens / f"{name}.token"


def ensure_tokens(home: Home) -> Path:
    """Make the tokens that are missing (0600). Gives the file with the hashes that the controller is to know."""
    home.tokens.mkdir(mode=0o700, exist_ok=True)
    for name in (*ROLES, "replay"):
        path = token_file(home, name)
        if not path.is_file() or not path.read_text().strip():
            _write_private(path, secrets.token_urlsafe(32) + "\n")
    hashes = [{"name": f"local-{role}", "role": role, "sha256": sha256_hex(token_file(home, role))} for role in ROLES]
    listed = home.tokens / "tokens.json"
    _write_private(listed, json.dumps(hashes, indent=1) + "\n")
    return listed


def sha256_hex(path: Path) -> str:
    """SHA-256 of the token in a file, hex."""
    return hashlib.sha256(path.read_text().strip().encode()).hexdigest()


def _write_private(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    beside.replace(path)
