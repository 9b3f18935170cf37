"""A real server in a thread, for tests that speak HTTP."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn

from controller.api import create_app
from controller.database import Database
from controller.services import Services
from controller.tables import Token

ROLES = ("viewer", "engineer", "operator", "admin", "replica", "monitor")


def until(condition: Callable[[], Any], what: str, timeout_s: float = 20.0) -> Any:
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {timeout_s} s for {what}"
        time.sleep(0.01)
    return found


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def give_tokens(db: Database) -> None:
    """A token for each role, `ROLE-token`."""
    with db.write() as session:
        for role in ROLES:
            digest = hashlib.sha256(f"{role}-token".encode()).hexdigest()
            session.add(Token(name=role, role=role, sha256=digest, source="file"))


@contextmanager
def serve(services: Services, app: Any = None) -> Iterator[httpx.Client]:
    """A client with the admin's token."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            app or create_app(services), log_config=None, lifespan="on", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        until(lambda: server.started, "the server")
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            with httpx.Client(base_url=url, headers=bearer("admin-token"), timeout=60) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(timeout=30)
        assert not thread.is_alive()
