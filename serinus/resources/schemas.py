"""A word's JSON schema in the form that Kubernetes takes: structural, nothing referred to, bounds as in OpenAPI 3.0."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

__all__ = ["MOST_ENTRIES", "structural"]

MOST_ENTRIES, MOST_CHARACTERS = 250, 300
"""Of a list or mapping, and of a text with a pattern, that has no bound of its own: Kubernetes must know how much there
is to check."""
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
NONE_OF: dict[str, dict[str, Any]] = {
    "string": {"minLength": 1, "maxLength": 0},
    "number": {"minimum": 1, "maximum": 0},
    "boolean": {"not": {"enum": [True, False]}},
    "array": {"minItems": 1, "maxItems": 0},
    "object": {"minProperties": 1, "maxProperties": 0},
}
"""What no value of this type can be, and every value of another type is."""
OF_TYPE = {
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "array": ("items", "minItems", "maxItems"),
    "object": ("properties", "required", "minProperties", "maxProperties"),
}


def structural(word: type[BaseModel], *, defaults: bool) -> dict[str, Any]:
    """The schema of a word. `defaults`: whether Kubernetes fills in what is left out; else the controller does, so
    that a later one may do better."""
    whole = word.model_json_schema()
    return _plain(whole, whole.get("$defs", {}), defaults)


def _plain(node: dict[str, Any], known: dict[str, Any], defaults: bool) -> dict[str, Any]:
    told = _resolved(node, known)
    choices = told.get("anyOf") or told.get("oneOf")
    if choices is not None:
        return _one_of(told, choices, known, defaults)
    plain = {name: told[name] for name in KEPT if name in told}
    if "pattern" in told:
        plain.setdefault("maxLength", MOST_CHARACTERS)
    if "const" in told:
        plain["enum"] = [told["const"]]
    for side, edge in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if side in told:
            plain |= {edge: told[side], side: True}
    if "properties" in told:
        plain["properties"] = {name: _plain(each, known, defaults) for name, each in told["properties"].items()}
    if "items" in told:
        plain["items"] = _plain(told["items"], known, defaults)
        plain.setdefault("maxItems", MOST_ENTRIES)
    return _with_default(_mapping(plain, told, known, defaults), told, defaults)


def _mapping(plain: dict[str, Any], told: dict[str, Any], known: dict[str, Any], defaults: bool) -> dict[str, Any]:
    """With what a mapping maps to, and how its keys look, which Kubernetes has only a rule for."""
    named = next(iter(told.get("patternProperties", {}).items()), None)
    inner = named[1] if named else told.get("additionalProperties")
    if isinstance(inner, dict):
        plain["additionalProperties"] = _plain(inner, known, defaults)
        plain.setdefault("maxProperties", MOST_ENTRIES)
    if named:
        rule = {"rule": f"self.all(name, name.matches('{named[0]}'))", "message": f"a name must match {named[0]}"}
        plain["x-kubernetes-validations"] = [rule]
    return plain


def _one_of(told: dict[str, Any], choices: list[Any], known: dict[str, Any], defaults: bool) -> dict[str, Any]:
    some = [_plain(each, known, defaults) for each in choices if each.get("type") != "null"]
    about: dict[str, Any] = {"description": told["description"]} if "description" in told else {}
    if len(some) < len(choices):
        about["nullable"] = True
    if len(some) == 1:
        return _with_default({**some[0], **about}, told, defaults)
    if sorted(each["type"] for each in some) == ["integer", "string"] and all(len(each) == 1 for each in some):
        return {**about, "x-kubernetes-int-or-string": True}
    return _with_default({**about, **_of_any_type(some)}, told, defaults)


def _of_any_type(forms: list[dict[str, Any]]) -> dict[str, Any]:
    """A field that has several forms, at most one of each type. Kubernetes knows no such field, but one that has no
    type at all, and applies each bound to values of its own type only."""
    merged: dict[str, Any] = {"x-kubernetes-preserve-unknown-fields": True}
    types = {"number" if each["type"] == "integer" else each["type"] for each in forms}
    for each in forms:
        match each["type"]:
            case "string":
                words = "|".join(each["enum"])
                merged["pattern"] = f"^({words})$"
            case "integer":
                merged |= {**{name: each[name] for name in OF_TYPE["number"] if name in each}, "multipleOf": 1}
            case kind:
                merged |= {name: each[name] for name in OF_TYPE[kind] if name in each}
    for kind, bounds in NONE_OF.items():
        if kind not in types:
            merged |= bounds
    return merged


def _with_default(plain: dict[str, Any], told: dict[str, Any], defaults: bool) -> dict[str, Any]:
    if defaults and told.get("default") is not None:
        plain["default"] = _without_nulls(told["default"])
    return plain


def _without_nulls(value: Any) -> Any:
    """What is null is left out: it is the same, and shorter."""
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return value


def _resolved(node: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        rest = {name: value for name, value in node.items() if name != "$ref"}
        node = {**known[node["$ref"].rsplit("/", 1)[1]], **rest}
    return node
