"""A stand-in controller that speaks the watch protocol."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from serinus.routes import ReplicaReport, RouteTable, Watched, WatchRequest


class StandInController:
    """A real HTTP server that answers `watch` as the brief of the protocol says. `port` survives stop and start."""

    def __init__(self) -> None:
        self.tables: dict[str, RouteTable] = {}
        self.reports: dict[str, ReplicaReport] = {}
        self.tokens: set[str] = set()
        self._changed = threading.Condition()
        self.port = 0
        self._running = False
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        standin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                standin.tokens.add(self.headers.get("authorization", ""))
                answer = standin.watch(WatchRequest.model_validate_json(body)).model_dump_json().encode()
                with contextlib.suppress(OSError):
                    self.send_response(200)
                    self.send_header("content-length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: Any) -> None:
                pass

        self._running = True
        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        with self._changed:
            self._running = False
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def watch(self, request: WatchRequest) -> Watched:
        def fresh() -> tuple[RouteTable, ...]:
            return tuple(t for t in self.tables.values() if request.known.get(t.model) != t.epoch)

        with self._changed:
            known = self.reports.get(request.report.replica)
            if known is None or request.report.number >= known.number:
                self.reports[request.report.replica] = request.report
            self._changed.wait_for(
                lambda: fresh() or set(request.known) - set(self.tables) or not self._running, request.wait_s
            )
            return Watched(tables=fresh(), models=tuple(self.tables))

    def put(self, table: RouteTable) -> None:
        with self._changed:
            self.tables[table.model] = table
            self._changed.notify_all()

    def remove(self, model: str) -> None:
        with self._changed:
            del self.tables[model]
            self._changed.notify_all()
