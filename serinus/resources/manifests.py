"""Resources in a file: several documents of YAML, each checked, every mistake with its line."""

from __future__ import annotations

from contextlib import suppress
from copy import deepcopy
from typing import Any

from pydantic import ValidationError

from serinus.errors import BadInput
from serinus.resources.metadata import API_VERSION
from serinus.resources.model import MultiTaskModel
from serinus.resources.pool import ServingPool
from serinus.resources.rollout import Rollout
from serinus.yaml_files import Document, read_documents

__all__ = ["KINDS", "AnyResource", "read_manifests", "resource_of"]

AnyResource = ServingPool | MultiTaskModel | Rollout
KINDS: dict[str, type[AnyResource]] = {
    "ServingPool": ServingPool,
    "MultiTaskModel": MultiTaskModel,
    "Rollout": Rollout,
}
"""In the order in which they need each other."""
MOST = 1_000


def read_manifests(text: str, source: str) -> tuple[AnyResource, ...]:
    """The resources of a file, pools first, then models, then rollouts. `source`: how the file is named in messages.

    Raises BadInput with line, column and field of what is wrong, and when one resource is there twice."""
    documents = [each for each in read_documents(text, source) if each.value is not None]
    if not documents:
        raise BadInput(f"{source} has no resource", f"write one, with apiVersion {API_VERSION} and its kind")
    if len(documents) > MOST:
        raise BadInput(f"{source} has more than {MOST} resources")
    found = [_resource(each) for each in documents]
    seen: set[tuple[str, str, str]] = set()
    for each in found:
        key = (each.kind, each.metadata.namespace, each.metadata.name)
        if key in seen:
            raise BadInput(f"{source}: {each.kind} {each.metadata.name} is there twice")
        seen.add(key)
    order = list(KINDS)
    return tuple(sorted(found, key=lambda each: order.index(each.kind)))


def resource_of(body: dict[str, Any]) -> AnyResource:
    """A resource as Kubernetes' API gives it. Raises pydantic's ValidationError, KeyError for another kind.

    A field that only a newer definition knows is left out: definitions are upgraded before operators."""
    kind = KINDS[body["kind"]]
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        known = deepcopy(body)
        for each in error.errors():
            if each["type"] == "extra_forbidden":
                _leave_out(known, each["loc"])
        return kind.model_validate(known)


def _leave_out(body: Any, path: tuple[int | str, ...]) -> None:
    """What is not there as such (a step may be the form of a union) stays as it is."""
    for step in path[:-1]:
        with suppress(KeyError, IndexError, TypeError):
            body = body[step]
    if isinstance(body, dict):
        body.pop(path[-1], None)


def _resource(document: Document) -> AnyResource:
    told = document.value.get("kind") if isinstance(document.value, dict) else None
    kind = KINDS.get(told) if isinstance(told, str) else None
    if kind is None:
        raise BadInput(f"{document.place}: kind is {told!r}, expected one of {', '.join(KINDS)}")
    return document.checked(kind)
