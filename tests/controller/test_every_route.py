"""Every route of the API, asked by every role: who is let in is written down here, and nowhere else twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from controller.database import Database
from controller.services import Services
from controller.store import PackageStore
from tests.controller.served import ROLES, bearer, give_tokens, serve


@pytest.fixture
def api(tmp_path: Path) -> Iterator[httpx.Client]:
    database = Database(f"sqlite:///{tmp_path / 'controller.db'}")
    database.migrate()
    services = Services(database, PackageStore(tmp_path / "packages"))
    give_tokens(services.db)
    with serve(services) as client:
        yield client
    services.door.last_used.stop()
    database.close()


def operations(api: httpx.Client) -> list[tuple[str, str]]:
    """(Method, path with its parameters) of everything that the API says it has."""
    paths: dict[str, dict[str, Any]] = api.get("/openapi.json").json()["paths"]
    return [(method.upper(), path) for path, methods in sorted(paths.items()) for method in methods]


def status_of(api: httpx.Client, method: str, path: str, role: str | None) -> int:
    """What the route answers to a call that is empty otherwise; streams are left at once."""
    filled = path.replace("{number}", "7").replace("{", "").replace("}", "")
    headers = {"authorization": ""} if role is None else bearer(f"{role}-token")
    content = b"{}" if method != "GET" else None
    if content:
        headers["content-type"] = "application/json"
    with api.stream(method, filled, headers=headers, content=content) as answer:
        return answer.status_code


EVERYBODY = """
GET /healthz
GET /readyz
"""
VIEWER = """
GET /v1/audit
GET /v1/audit/verify
POST /v1/console/login
GET /v1/events
GET /v1/jobs
GET /v1/jobs/{job_id}
GET /v1/keys
GET /v1/keys/{name}
GET /v1/me
GET /v1/models
GET /v1/models/{model}
GET /v1/models/{model}/aliases
GET /v1/models/{model}/aliases/history
GET /v1/models/{model}/diff
GET /v1/models/{model}/health
GET /v1/models/{model}/sla
GET /v1/models/{model}/sla/history
GET /v1/models/{model}/versions
GET /v1/models/{model}/versions/{number}
GET /v1/models/{model}/weights
GET /v1/notices
GET /v1/rollouts
GET /v1/rollouts/{rollout_id}
GET /v1/rollouts/{rollout_id}/events
GET /v1/rollouts/{rollout_id}/evidence
GET /v1/rollouts/{rollout_id}/evidence/latest
GET /v1/rollouts/{rollout_id}/series
GET /v1/status
GET /v1/transitions
"""
ENGINEER = """
POST /v1/jobs
POST /v1/jobs/{job_id}/cancel
PUT /v1/models/{model}
PUT /v1/models/{model}/aliases/{alias}
DELETE /v1/models/{model}/aliases/{alias}
POST /v1/models/{model}/bundles
POST /v1/models/{model}/rollouts
POST /v1/models/{model}/uploads
POST /v1/models/{model}/versions
POST /v1/models/{model}/versions/fetch
PATCH /v1/models/{model}/versions/{number}
GET /v1/models/{model}/versions/{number}/bundle
GET /v1/models/{model}/versions/{number}/imported
POST /v1/models/{model}/versions/{number}/signatures
POST /v1/rollouts/{rollout_id}/commands
GET /v1/uploads/{upload}
PATCH /v1/uploads/{upload}
POST /v1/uploads/{upload}/finish
"""
OPERATOR = """
POST /v1/models/{model}/promote
PUT /v1/models/{model}/weights
POST /v1/notices/test
"""
ADMIN = """
POST /v1/garbage
PUT /v1/keys/{name}
DELETE /v1/keys/{name}
DELETE /v1/models/{model}
DELETE /v1/models/{model}/versions/{number}
GET /v1/tokens
POST /v1/tokens
DELETE /v1/tokens/{name}
"""
LET_IN = {
    EVERYBODY: {None, *ROLES},
    VIEWER: {"viewer", "engineer", "operator", "admin"},
    ENGINEER: {"engineer", "operator", "admin"},
    OPERATOR: {"operator", "admin"},
    ADMIN: {"admin"},
    "GET /v1/packages/{digest}/{name}": {"engineer", "operator", "admin", "replica", "monitor"},
    "POST /v1/monitor/exchange": {"monitor", "admin"},
    "POST /v1/pools/{pool}/watch": {"replica", "admin"},
}
REFUSED = {401, 403, 429}
"""429: whoever comes without a good token again and again."""


def test_each_role_may_call_what_is_written_here_and_nothing_else(api: httpx.Client) -> None:
    expected = {line: roles for lines, roles in LET_IN.items() for line in lines.strip().splitlines()}
    found = {f"{method} {path}": (method, path) for method, path in operations(api)}
    assert found.keys() == expected.keys()
    wrong = {}
    for line, (method, path) in found.items():
        answers = {role: status_of(api, method, path, role) for role in (None, *ROLES)}
        let_in = {role for role, status in answers.items() if status not in REFUSED}
        if let_in != expected[line] or any(status >= 500 for status in answers.values()):
            wrong[line] = answers
    assert not wrong
