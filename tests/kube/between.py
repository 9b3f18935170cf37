"""A proxy between the operator and the API server, which can be gone, and can end watches as expired."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web

EXPIRED = {
    "type": "ERROR",
    "object": {"kind": "Status", "apiVersion": "v1", "code": 410, "reason": "Expired", "message": "too old"},
}
HOP = {"host", "connection", "transfer-encoding", "content-length", "content-encoding", "accept-encoding"}


class Between:
    """Of a loop in its own thread. `gone`: connections break off. `writes`: method and path of what was no read."""

    loop: asyncio.AbstractEventLoop
    over: asyncio.Event
    session: ClientSession

    def __init__(self, kubeconfig: Path) -> None:
        told = yaml.safe_load(kubeconfig.read_text())
        self.server: str = told["clusters"][0]["cluster"]["server"]
        authority = told["clusters"][0]["cluster"]["certificate-authority"]
        self.tls = ssl.create_default_context(cafile=str((kubeconfig.parent / authority).resolve()))
        self.tls.check_hostname = False
        self.gone, self.writes, self.expired = False, list[tuple[str, str]](), 0
        self._watches: set[asyncio.Event] = set()

    def expire(self) -> int:
        """End every watch with 410; how many there were."""
        found = list(self._watches)
        for each in found:
            self.loop.call_soon_threadsafe(each.set)
        return len(found)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """A side that goes away in the middle is nothing to be told."""
        try:
            return await self.pass_on(request)
        except (ClientError, ConnectionError):
            return self._break(request)

    async def pass_on(self, request: web.Request) -> web.StreamResponse:
        if self.gone:
            return self._break(request)
        if request.method != "GET":
            self.writes.append((request.method, request.path))
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP}
        body, expired = await request.read(), asyncio.Event()
        watch = request.query.get("watch") in ("true", "1")
        async with self.session.request(
            request.method,
            self.server + request.path_qs,
            headers=headers,
            data=body or None,
            ssl=self.tls,
            skip_auto_headers=("content-type",),
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP}
            given = web.StreamResponse(status=answer.status, headers=kept)
            await given.prepare(request)
            if watch:
                self._watches.add(expired)
            try:
                while (piece := await self._next(answer.content, expired)) is not None:
                    if self.gone:
                        return self._break(request)
                    await given.write(piece)
            finally:
                self._watches.discard(expired)
            if expired.is_set():
                self.expired += 1
                await given.write(json.dumps(EXPIRED).encode() + b"\n")
            await given.write_eof()
            return given

    async def _next(self, content: object, expired: asyncio.Event) -> bytes | None:
        """None at the end, and when the watch is to expire."""
        read = asyncio.ensure_future(content.readany())  # type: ignore[attr-defined]
        while not expired.is_set():
            done, _ = await asyncio.wait({read}, timeout=0.1)
            if done:
                return read.result() or None
            if self.gone:
                read.cancel()
                return b""
        read.cancel()
        return None

    def _break(self, request: web.Request) -> web.Response:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=503)


@contextmanager
def between(kubeconfig: Path, token: str, namespace: str, folder: Path) -> Iterator[tuple[Between, Path]]:
    """The proxy, and a kubeconfig through it with this token."""
    proxy, ready, ports = Between(kubeconfig), threading.Event(), list[int]()

    async def serve() -> None:
        proxy.loop, proxy.over = asyncio.get_running_loop(), asyncio.Event()
        async with ClientSession(
            timeout=ClientTimeout(total=None), connector=TCPConnector(limit=0), auto_decompress=False
        ) as proxy.session:
            app = web.Application(client_max_size=8 << 20)
            app.router.add_route("*", "/{path:.*}", proxy.answer)
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=0.1).start()
            ports.append(runner.addresses[0][1])
            ready.set()
            await proxy.over.wait()
            proxy.gone = True
            await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(20)
    told = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it", "namespace": namespace}}],
        "clusters": [{"name": "it", "cluster": {"server": f"http://127.0.0.1:{ports[0]}"}}],
        "users": [{"name": "it", "user": {"token": token}}],
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(told))
    try:
        yield proxy, path
    finally:
        proxy.loop.call_soon_threadsafe(proxy.over.set)
        thread.join(20)
