"""A small stand-in for Grafana's HTTP API: strict about what it is sent, and it remembers.

Paths, bodies and answers follow https://grafana.com/docs/grafana/latest/developers/http_api/ (folder, data source,
dashboard, annotations, alerting provisioning)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

TOKEN = "glsa_right"
Answer = tuple[int, Any]


@dataclass
class Grafana:
    """`writes`: (method, path) of all that changed something. `fails`: what the next call is answered in its place."""

    url: str = ""
    folders: dict[str, dict[str, Any]] = field(default_factory=dict)
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    boards: dict[str, dict[str, Any]] = field(default_factory=dict)
    marks: list[dict[str, Any]] = field(default_factory=list)
    contacts: list[dict[str, Any]] = field(default_factory=list)
    writes: list[tuple[str, str]] = field(default_factory=list)
    fails: Answer | None = None

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any, headers: Any) -> Answer:
        if self.fails is not None:
            return self.fails
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, {"message": "Invalid API key"}
        if method in ("POST", "PUT"):
            self.writes.append((method, path))
        head, _, rest = path.removeprefix("/api/").partition("/")
        kinds = {"folders": self._folders, "datasources": self._sources, "dashboards": self._boards}
        if head in kinds:
            return kinds[head](method, rest, body)
        if head == "annotations":
            return self._annotations(method, query, body)
        if path == "/api/v1/provisioning/contact-points" or path.startswith("/api/v1/provisioning/contact-points/"):
            assert headers.get("X-Disable-Provenance") == "true"
            return self._contacts(method, path.removeprefix("/api/v1/provisioning/contact-points").strip("/"), body)
        return 404, {"message": "Not found"}

    def _folders(self, method: str, uid: str, body: Any) -> Answer:
        if method == "GET":
            return (200, self.folders[uid]) if uid in self.folders else (404, {"message": "folder not found"})
        assert (method, uid) == ("POST", "")
        only(body, {"title": str, "uid": str})
        if body["uid"] in self.folders:
            return 409, {"message": "a folder with that uid already exists"}
        self.folders[body["uid"]] = {"id": 1, **body}
        return 200, self.folders[body["uid"]]

    def _sources(self, method: str, rest: str, body: Any) -> Answer:
        uid = rest.removeprefix("uid/")
        if method == "GET":
            return (200, self.sources[uid]) if uid in self.sources else (404, {"message": "Data source not found"})
        only(body, {"uid": str, "name": str, "type": str, "access": str, "url": str, "jsonData": dict, "version": int})
        assert body["access"] in ("proxy", "direct")
        if method == "POST":
            if body["uid"] in self.sources:
                return 409, {"message": "data source with the same uid already exists"}
        elif body.get("version") != self.sources[uid]["version"]:
            return 409, {"message": "Datasource has already been updated by someone else"}
        version = self.sources.get(body["uid"], {}).get("version", 0) + 1
        self.sources[body["uid"]] = {"id": 1, "orgId": 1, "readOnly": False, **body, "version": version}
        return 200, {"datasource": self.sources[body["uid"]], "message": "Datasource added"}

    def _boards(self, method: str, rest: str, body: Any) -> Answer:
        if method == "GET":
            uid = rest.removeprefix("uid/")
            return (200, self.boards[uid]) if uid in self.boards else (404, {"message": "Dashboard not found"})
        assert (method, rest) == ("POST", "db")
        only(body, {"dashboard": dict, "folderUid": str, "overwrite": bool, "message": str})
        board = body["dashboard"]
        assert board.pop("id") is None
        there = self.boards.get(board["uid"])
        if there and not body["overwrite"] and board.get("version") != there["dashboard"]["version"]:
            return 412, {"message": "The dashboard has been changed by someone else", "status": "version-mismatch"}
        if body["folderUid"] not in self.folders:
            return 400, {"message": "folder not found"}
        of_type(board)
        version = there["dashboard"]["version"] + 1 if there else 1
        meta = {"folderUid": body["folderUid"], "folderTitle": self.folders[body["folderUid"]]["title"]}
        self.boards[board["uid"]] = {
            "dashboard": {**board, "id": len(self.boards) + 1, "version": version},
            "meta": meta,
        }
        return 200, {"uid": board["uid"], "version": version, "status": "success"}

    def _annotations(self, method: str, query: dict[str, list[str]], body: Any) -> Answer:
        if method == "GET":
            found = [mark for mark in self.marks if set(query["tags"]) <= set(mark["tags"])]
            return 200, found[: int(query["limit"][0])]
        only(body, {"panelId": type(None), "time": int, "timeEnd": type(None), "tags": list, "text": str})
        self.marks.append({"id": len(self.marks) + 1, **body})
        return 200, {"id": len(self.marks), "message": "Annotation added"}

    def _contacts(self, method: str, uid: str, body: Any) -> Answer:
        if method == "GET":
            return 200, self.contacts
        only(body, {"name": str, "uid": str, "type": str, "settings": dict, "disableResolveMessage": bool})
        assert body["settings"]["url"].startswith("http")
        self.contacts = [each for each in self.contacts if each["uid"] != body["uid"]] + [body]
        return 202, body


def only(body: Any, known: dict[str, type]) -> None:
    """The body is an object that has fields of these types and no others."""
    assert isinstance(body, dict)
    for name, value in body.items():
        assert name in known, f"unknown field {name}"
        assert isinstance(value, known[name]), f"{name} is a {type(value).__name__}"


def of_type(board: dict[str, Any]) -> None:
    """The dashboard is one by the SDK's types: what they understand of it is all that there is."""
    understood = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
    lost = [key for key in board if key not in understood and key != "id"]
    assert not lost, f"no field of a dashboard: {lost}"
    assert len(understood["panels"]) == len(board["panels"])
    for panel in board["panels"]:
        assert {"type", "title", "gridPos", "targets", "datasource"} <= panel.keys()


@contextmanager
def grafana() -> Iterator[Grafana]:
    """One that runs on a port of its own."""
    made = Grafana()

    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            parts = urlsplit(self.path)
            size = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            try:
                status, said = made.answer(self.command, parts.path, parse_qs(parts.query), body, self.headers)
            except AssertionError as error:
                status, said = 400, {"message": str(error)}
            text = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = _any  # noqa: N815 (names of the base class)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
