"""`python -m controller`: migrate, listen, say so, and stop cleanly on SIGTERM.

`python -m controller backup FILE | restore FILE | restored | migrate` does that to the database instead, and ends."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import socket
import sys
import time

import uvicorn

from controller.api import create_app
from controller.auth import require_tokens
from controller.database import Database
from controller.limits import Buckets
from controller.request_ids import RequestIdFilter
from controller.safekeeping import carry_out
from controller.services import Services
from controller.settings import Settings
from controller.store import PackageStore
from controller.tokens import ensure_tokens
from serinus.errors import SerinusError, Unavailable

__all__ = ["main"]


class Server(uvicorn.Server):
    """Prints the ready line once it accepts connections, and lets waiting polls go before it stops."""

    def __init__(self, config: uvicorn.Config, services: Services, url: str) -> None:
        super().__init__(config)
        self.services, self.url = services, url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(json.dumps({"ready": "controller", "url": self.url}), flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.services.bell.close()
        self.services.events.close()
        await super().shutdown(sockets)


def main() -> int:
    """Run until SIGTERM. The exit code is 1, after one clear line, when it cannot start."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    told = logging.StreamHandler(sys.stderr)
    told.addFilter(RequestIdFilter())
    logging.basicConfig(
        level=logging.INFO, handlers=[told], format="%(asctime)s %(levelname)s %(name)s [%(request)s]: %(message)s"
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        settings = Settings.from_env(os.environ)
        if len(sys.argv) > 1:
            print(carry_out(Database(settings.database_url, settings.database_url_file), sys.argv[1:], time.time()))
            return 0
        services = _services(settings)
        listener = _listen(settings.host, settings.port)
    except SerinusError as error:
        print(f"controller: {error.detail}; {error.advice}", file=sys.stderr)
        return 1
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    config = uvicorn.Config(
        create_app(services),
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=5,
        server_header=False,
    )
    server = Server(config, services, url)
    gc.collect()
    gc.freeze()  # a thousand waiting polls are many objects that live long: looking at all is not worth it
    gc.set_threshold(20_000, 20, 50)
    try:
        server.run(sockets=[listener])  # after it has stopped it raises the signal again, for `_leave`
    finally:
        services.db.close()
    return 0 if server.started else 1


def _leave(_number: int, _frame: object) -> None:
    sys.exit(0)


def _services(settings: Settings) -> Services:
    db = Database(settings.database_url, settings.database_url_file)
    db.migrate()
    if settings.tokens_file is not None:
        ensure_tokens(db, settings.tokens_file)
    require_tokens(db, settings.loopback)
    try:
        store = PackageStore(settings.packages, settings.incoming, by_api=settings.packages_by_api)
    except OSError as error:
        raise Unavailable(
            f"the package store {settings.packages} cannot be used: {error}", "check the folder"
        ) from error
    services = Services(
        db,
        store,
        notify=settings.notify_file,
        looks_kept_s=settings.looks_days * 86_400,
        garbage_every_s=settings.garbage_every_s,
        sources=settings.sources,
        tokens_file=settings.tokens_file,
    )
    services.door.people = Buckets(settings.rate_per_s, max(settings.rate_burst, 1.0))
    return services


def _listen(host: str, port: int) -> socket.socket:
    """Raises Unavailable that names the address."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        raise Unavailable(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            "another controller may run there; choose another SERINUS_CONTROLLER_PORT",
        ) from error
    return listener


if __name__ == "__main__":
    sys.exit(main())
