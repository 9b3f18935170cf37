"""The OpenAPI document: every body and every answer has an example that fits, every error is a problem; and requests
made up from it, sent to a real server, never make it fail."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable

from controller.api import create_app
from controller.database import Database
from controller.limits import Buckets
from controller.services import Services
from controller.store import PackageStore
from serinus.errors import SerinusError, from_problem
from tests.controller.served import serve


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    folder = tmp_path_factory.mktemp("openapi")
    db = Database(f"sqlite:///{folder / 'controller.db'}")
    db.migrate()
    made = Services(db, PackageStore(folder / "packages"))
    made.door.people = Buckets(0, 0)
    yield made
    db.close()


@pytest.fixture(scope="module")
def api(services: Services) -> Iterator[httpx.Client]:
    with serve(services) as client:
        client.headers.pop("authorization")  # no token is known: everybody is admin
        yield client


@pytest.fixture(scope="module")
def document(services: Services) -> dict[str, Any]:
    return json.loads(json.dumps(create_app(services).openapi()))


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def bodies(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Schemas of JSON that is asked for or answered."""
    told = [operation.get("requestBody", {}), *operation["responses"].values()]
    for each in told:
        for kind, content in each.get("content", {}).items():
            if kind.endswith("json"):
                yield content["schema"]


def test_every_body_and_answer_has_an_example_that_fits(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    without = set()
    for name, operation in operations(document):
        for schema in bodies(operation):
            if "$ref" not in schema:  # a dictionary or a list of words, whose example is theirs
                continue
            word = schema["$ref"].rsplit("/", 1)[-1]
            if not (examples := schemas[word].get("examples")):
                without.add(f"{name}: {word}")
                continue
            validator = jsonschema_rs.validator_for({**schema, "components": document["components"]})
            for example in examples:
                validator.validate(example)
    assert not without, "add them to controller/examples.json"


def test_every_operation_says_what_it_does_and_how_it_fails(document: dict[str, Any]) -> None:
    assert document["security"] == [{"token": []}]
    for name, operation in operations(document):
        assert operation.get("description"), f"{name} has no docstring"
        assert operation["tags"], name
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                assert "application/problem+json" in answer["content"], (name, status)
        if "/v1/" in name:
            assert {"400", "401", "403", "429", "500", "503"} <= set(operation["responses"]), name


def test_every_error_has_a_line_in_the_documentation() -> None:
    def all_of(kind: type[SerinusError]) -> Iterator[type[SerinusError]]:
        yield kind
        for sub in kind.__subclasses__():
            yield from all_of(sub)

    page = (Path(__file__).parents[2] / "docs/api.md").read_text()
    listed = dict(re.findall(r"^\| `https://serinus.dev/errors/(\w+)` \| (\d+)", page, re.MULTILINE))
    known = {kind.__name__: str(kind.status) for kind in all_of(SerinusError) if kind.__module__ == "serinus.errors"}
    assert listed == known
    for name in known:
        assert from_problem({"title": name, "detail": "x"}).code == name


def test_there_is_no_page_that_needs_the_internet(api: httpx.Client) -> None:
    assert [api.get(path).status_code for path in ("/docs", "/redoc", "/openapi.json")] == [404, 404, 200]


LONG = re.compile(r"events$|/watch$")
"""Answers that take their time: tried where they are tested."""


def test_made_up_requests_never_make_it_fail(api: httpx.Client, document: dict[str, Any]) -> None:
    sla = {"model": "ads", "tasks": {"click": {"label_window_s": 60, "absent": "negative"}}}
    api.put("/v1/models/ads", json={"sla": sla}).raise_for_status()
    schema = schemathesis.openapi.from_dict(document)
    failed: list[str] = []
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if not LONG.search(operation.path) and (operation.path, operation.method) != ("/v1/tokens", "post"):
            _try(operation, str(api.base_url), failed)
            tried += 1
    assert tried > 40
    assert not failed, "\n".join(failed)


@schemathesis.serializer("application/x-tar")
def _as_it_is(_context: Any, value: Any) -> bytes:
    """Anything but a tar: bytes, or the text of whatever was made up."""
    return value if isinstance(value, bytes) else str(value).encode()


def _try(operation: Any, url: str, failed: list[str]) -> None:
    quiet = settings(
        max_examples=5,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )

    for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
        try:
            strategy = operation.as_strategy(generation_mode=mode)
        except Exception:
            continue

        @seed(20)
        @quiet
        @given(case=strategy)
        def once(case: Any) -> None:
            answer = case.call(base_url=url)
            if answer.status_code >= 500:
                failed.append(f"{case.as_curl_command()}: {answer.status_code} {answer.text[:300]}")

        try:
            once()
        except Unsatisfiable:  # nothing about this operation can be wrong
            continue
