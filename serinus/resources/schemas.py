"""A word's JSON schema in the form that Kubernetes takes: structural, nothing referred to, bounds as in OpenAPI 3.0."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

__all__ = ["structural"]

KEPT = (
    "type",
    "description",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "pattern",
    "enum",
    "format",
    "required",
)
FREE = {"x-kubernetes-preserve-unknown-fields": True}


def structural(word: type[BaseModel], *, defaults: bool) -> dict[str, Any]:
    """The schema of a word. `defaults`: whether Kubernetes fills in what is left out; else the controller does, so
    that a later one may do better.

    What may be of several types, Kubernetes takes as it comes, and the operator checks it."""
    whole = word.model_json_schema()
    return _plain(whole, whole.get("$defs", {}), defaults)


def _plain(node: dict[str, Any], known: dict[str, Any], defaults: bool) -> dict[str, Any]:
    told = _resolved(node, known)
    choices = told.get("anyOf") or told.get("oneOf")
    if choices is not None:
        return _one_of(told, choices, known, defaults)
    plain = {name: told[name] for name in KEPT if name in told}
    if "const" in told:
        plain["enum"] = [told["const"]]
    for side, edge in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if side in told:
            plain |= {edge: told[side], side: True}
    if "properties" in told:
        plain["properties"] = {name: _plain(each, known, defaults) for name, each in told["properties"].items()}
    if "items" in told:
        plain["items"] = _plain(told["items"], known, defaults)
    inner = told.get("additionalProperties") or next(iter(told.get("patternProperties", {}).values()), None)
    if isinstance(inner, dict):
        plain["additionalProperties"] = _plain(inner, known, defaults)
    return _with_default(plain, told, defaults)


def _one_of(told: dict[str, Any], choices: list[Any], known: dict[str, Any], defaults: bool) -> dict[str, Any]:
    some = [each for each in choices if each.get("type") != "null"]
    about = {"description": told["description"]} if "description" in told else {}
    if len(some) == 1:
        return _with_default({**_plain(some[0], known, defaults), **about}, told, defaults)
    types = {each.get("type") for each in some}
    if types == {"integer", "string"} and not any("enum" in each or "pattern" in each for each in some):
        return {**about, "x-kubernetes-int-or-string": True}
    return {**about, **FREE}


def _with_default(plain: dict[str, Any], told: dict[str, Any], defaults: bool) -> dict[str, Any]:
    if defaults and told.get("default") is not None:
        plain["default"] = _without_nulls(told["default"])
    return plain


def _without_nulls(value: Any) -> Any:
    """What is null is left out: Kubernetes takes no null for a field that is not nullable."""
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return value


def _resolved(node: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        rest = {name: value for name, value in node.items() if name != "$ref"}
        node = {**known[node["$ref"].rsplit("/", 1)[1]], **rest}
    return node
