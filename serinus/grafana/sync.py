"""Brings a Grafana to what this release wants of it: folder, data source, dashboards, marks, a contact point.

By its HTTP API (https://grafana.com/docs/grafana/latest/developers/http_api/). It looks first, and writes only what
differs, so that it can be run again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import requests
from grafana_client import GrafanaApi
from grafana_client.client import GrafanaClientError, GrafanaException
from pydantic import BaseModel

from serinus.errors import BadInput, NotAllowed, SerinusError, Stale, Unavailable
from serinus.grafana.boards import boards
from serinus.grafana.happened import TAG
from serinus.rollouts import RolloutView

__all__ = ["Done", "Wanted", "connect", "sync"]

FOLDER, FOLDER_TITLE = "serinus", "Serinus"
SOURCE, SOURCE_NAME, CONTACT = "serinus-prometheus", "Serinus Prometheus", "serinus-webhook"
MOST_MARKS, MOST_CHANGES = 1_000, 5
STORED = ("id", "version")
"""What Grafana adds to a dashboard that it keeps."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """`prometheus`, `webhook`: URLs, "": leave that alone. `rollouts`: whose transitions are marked."""

    prometheus: str = ""
    webhook: str = ""
    rollouts: tuple[RolloutView, ...] = ()


class Done(BaseModel):
    """What was done, or would be. `changes`: what differed, a few of it."""

    kind: Literal["folder", "data source", "dashboard", "marks", "contact point"]
    name: str
    what: Literal["create", "update", "same"]
    changes: tuple[str, ...] = ()


def connect(url: str, token: str, timeout_s: float = 10.0) -> GrafanaApi:
    """A client of the Grafana at this URL, perhaps with a path. Raises BadInput."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise BadInput(f"{url[:200]!r} is no URL of a Grafana", "expected http://HOST:PORT, with the token beside it")
    prefix = f"{parts.path.strip('/')}/" if parts.path.strip("/") else ""
    api = GrafanaApi(
        token, host=parts.hostname, port=parts.port, url_path_prefix=prefix, protocol=parts.scheme, timeout=timeout_s
    )
    api.client.s.headers["X-Disable-Provenance"] = "true"  # what is pushed stays editable by people
    return api


def sync(api: GrafanaApi, wanted: Wanted, *, dry_run: bool = False) -> list[Done]:
    """Make it so, or say what would be done. Raises Unavailable, NotAllowed, Stale, BadInput."""
    with _told():
        done = [_folder(api, dry_run)]
        if wanted.prometheus:
            done.append(_source(api, wanted.prometheus, dry_run))
        done += [_board(api, uid, board, dry_run) for uid, board in boards().items()]
        done += list(_marks(api, wanted.rollouts, dry_run))
        if wanted.webhook:
            done.append(_contact(api, wanted.webhook, dry_run))
    return done


@contextmanager
def _told() -> Iterator[None]:
    """Grafana's refusals as our errors."""
    try:
        yield
    except GrafanaException as error:
        raise _error(error) from error
    except (requests.RequestException, ValueError) as error:
        raise Unavailable(
            f"Grafana does not answer as it should: {type(error).__name__}", "is the URL right?"
        ) from error


def _error(error: GrafanaException) -> SerinusError:
    said = str(error.message)[:300]
    if error.status_code in (401, 403):
        return NotAllowed(f"Grafana refuses the token: {said}", "a service account with role Editor or Admin is needed")
    if error.status_code == 412:
        return Stale("somebody changed it in Grafana at the same moment", "run it again")
    if error.status_code >= 500:
        return Unavailable(f"Grafana failed: {said}", "its log says why")
    return BadInput(f"Grafana refuses what it was sent: {said}", "is it Grafana 9 or later?")


def _found(ask: Callable[[], Any]) -> Any:
    """What is there, None when it is not."""
    try:
        return ask()
    except GrafanaClientError as error:
        if error.status_code == 404:
            return None
        raise


def _folder(api: GrafanaApi, dry_run: bool) -> Done:
    there = _found(lambda: api.folder.get_folder(FOLDER))
    if there is None and not dry_run:
        api.folder.create_folder(FOLDER_TITLE, FOLDER)
    return Done(kind="folder", name=FOLDER_TITLE, what="same" if there else "create")


def _source(api: GrafanaApi, url: str, dry_run: bool) -> Done:
    body = {
        "uid": SOURCE,
        "name": SOURCE_NAME,
        "type": "prometheus",
        "access": "proxy",
        "url": url,
        "jsonData": {"httpMethod": "POST"},
    }
    there = _found(lambda: api.datasource.get_datasource_by_uid(SOURCE))
    changes = tuple(_differences({name: (there or {}).get(name) for name in body}, body))
    if not dry_run and there is None:
        api.datasource.create_datasource(body)
    elif not dry_run and changes:
        api.datasource.update_datasource_by_uid(SOURCE, {**body, "version": there.get("version")})
    return _done("data source", SOURCE_NAME, there, changes)


def _board(api: GrafanaApi, uid: str, board: dict[str, Any], dry_run: bool) -> Done:
    there = _found(lambda: api.dashboard.get_dashboard(uid))
    kept = {name: value for name, value in (there or {}).get("dashboard", {}).items() if name not in STORED}
    changes = list(_differences(kept, board))
    if there is not None and there.get("meta", {}).get("folderUid") != FOLDER:
        changes.append(f"it lies in the folder {there.get('meta', {}).get('folderTitle', '?')!r}")
    if (there is None or changes) and not dry_run:
        version = {"version": there["dashboard"]["version"]} if there else {}
        body = {"dashboard": {**board, "id": None, **version}, "folderUid": FOLDER, "overwrite": False,
                "message": "serinus grafana sync"}  # fmt: skip
        api.dashboard.update_dashboard(body)
    return _done("dashboard", str(board["title"]), there, tuple(changes))


def _marks(api: GrafanaApi, rollouts: Iterable[RolloutView], dry_run: bool) -> Iterator[Done]:
    """A mark at each transition of each rollout, once: its tag has the rollout and the number of the move."""
    by_model: dict[str, list[RolloutView]] = {}
    for view in rollouts:
        by_model.setdefault(view.model, []).append(view)
    for model, views in by_model.items():
        tags = [TAG, f"model:{model}"]
        there = {tag for mark in api.annotations.get_annotation(tags=tags, limit=MOST_MARKS) for tag in mark["tags"]}
        missing = [
            (f"move:{view.id}/{number}", view, move)
            for view in views
            for number, move in enumerate(view.history)
            if f"move:{view.id}/{number}" not in there
        ][-MOST_MARKS:]
        for tag, view, move in missing if not dry_run else ():
            text = f"version {view.candidate}: {move.start} -> {move.to}: {move.why}"[:1_000]
            api.annotations.add_annotation(time_from=int(move.at * 1000), tags=[*tags, tag, str(move.to)], text=text)
        changes = tuple(f"{len(missing)} new" for _ in missing[:1])
        yield Done(kind="marks", name=model, what="create" if missing else "same", changes=changes)


def _contact(api: GrafanaApi, url: str, dry_run: bool) -> Done:
    body = {"name": CONTACT, "uid": CONTACT, "type": "webhook", "settings": {"url": url, "httpMethod": "POST"},
            "disableResolveMessage": False}  # fmt: skip
    points = api.alertingprovisioning.get_contactpoints()
    there = next((point for point in points if point.get("uid") == CONTACT), None)
    changes = tuple(_differences({name: (there or {}).get(name) for name in body}, body))
    if not dry_run and there is None:
        api.alertingprovisioning.create_contactpoint(body)
    elif not dry_run and changes:
        api.alertingprovisioning.update_contactpoint(CONTACT, body)
    return _done("contact point", CONTACT, there, changes)


def _done(kind: Any, name: str, there: object, changes: tuple[str, ...]) -> Done:
    if there is None:
        return Done(kind=kind, name=name, what="create")
    return Done(kind=kind, name=name, what="update" if changes else "same", changes=changes[:MOST_CHANGES])


def _differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Paths at which two JSON values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from _differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for at, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _differences(one, other, f"{path}[{at}]")
    elif old != new:
        yield f"{path}: {_short(old)} -> {_short(new)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
