"""Specs drawn from a structural schema: what Kubernetes would take by types and bounds, and often by its rules."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import strategies as st

__all__ = ["of_schema"]

TIMES = st.sampled_from(["2026-01-01T00:00:00Z", "2026-06-01T12:00:00+02:00", "2027-01-01T00:00:00.5Z"])
MOST = 3


def of_schema(schema: dict[str, Any], known: dict[str, Any]) -> st.SearchStrategy[Any]:
    """`known`: field -> what it always is, wherever it stands; None: left out unless it is required."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "object":
            return _object(schema, known)
        case "array":
            least, most = schema.get("minItems", 0), schema["maxItems"]
            return st.lists(of_schema(schema["items"], known), min_size=least, max_size=min(most, least + MOST))
        case "string":
            return _text(schema)
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        case "number":
            return _number(schema)
    if schema.get("x-kubernetes-int-or-string"):
        return st.one_of(st.integers(-(2**31), 2**31), st.text(max_size=20))
    return _of_any_type(schema, known)


def _object(schema: dict[str, Any], known: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "properties" not in schema:
        inner = of_schema(schema["additionalProperties"], known)
        keys = st.from_regex(r"[a-z][a-z0-9_-]{0,9}", fullmatch=True)
        return st.dictionaries(keys, inner, min_size=schema.get("minProperties", 0), max_size=MOST)
    needed, may = {}, {}
    for name, field in schema["properties"].items():
        if known.get(name, field) is None and name not in schema.get("required", ()):
            continue
        value = st.just(known[name]) if known.get(name) is not None else of_schema(field, known)
        if field.get("nullable"):
            value = value | st.none()
        (needed if name in schema.get("required", ()) or name in known else may)[name] = value
    return st.fixed_dictionaries(needed, optional=may)


def _text(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    if schema.get("format") == "date-time":
        return TIMES
    least, most = schema.get("minLength", 0), schema.get("maxLength", 40)
    if "pattern" in schema:
        found = st.from_regex(re.compile(schema["pattern"], re.ASCII), fullmatch=True)
        return found.filter(lambda text: len(text.encode()) <= most and not text.endswith("\n"))
    plain = st.characters(codec="utf-8", max_codepoint=0xFFFF)  # what JSON writes as one escape
    return st.text(plain, min_size=least, max_size=min(most, least + 20))


def _number(schema: dict[str, Any]) -> st.SearchStrategy[float]:
    return st.floats(
        schema.get("minimum"),
        schema.get("maximum"),
        exclude_min=schema.get("exclusiveMinimum", False),
        exclude_max=schema.get("exclusiveMaximum", False),
        allow_nan=False,
        allow_infinity=False,
    )


def _of_any_type(schema: dict[str, Any], known: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Of each type one; the schema's bounds refuse those that are not meant."""
    words = re.findall(r"\w+", schema.get("pattern", ""))
    forms: list[st.SearchStrategy[Any]] = [st.sampled_from([*words, "another"]), st.integers(-100, 100), st.booleans()]
    if "properties" in schema:
        forms.append(_object(schema, known))
    if "items" in schema:
        forms.append(st.lists(of_schema(schema["items"], known), max_size=MOST))
    return st.one_of(*forms, st.floats(-1, 1), st.just({}), st.just([]))
