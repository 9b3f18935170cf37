"""The fields of the resources as the tables of docs/resources.md: `python -m serinus.resources.page` prints them."""

from __future__ import annotations

from typing import Any

from serinus.resources.crds import crds

__all__ = ["tables"]

BOUNDS = (
    ("minimum", "at least {}"),
    ("maximum", "at most {}"),
    ("minLength", "at least {} characters"),
    ("maxLength", "at most {} characters"),
    ("minItems", "at least {}"),
    ("maxItems", "at most {}"),
    ("minProperties", "at least {}"),
    ("maxProperties", "at most {}"),
)


def tables() -> str:
    """Markdown: a section for each kind, and in it one for each object, with what its fields are."""
    lines = []
    for kind, definition in crds().items():
        schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        names = definition["spec"]["names"]
        lines += [f"## {kind}", "", f"`kubectl get {names['plural']}`, short `{names['shortNames'][0]}`.", ""]
        lines += _object("spec", schema["properties"]["spec"], {})
        lines += _object("status", schema["properties"]["status"], {})
    return "\n".join(lines).rstrip() + "\n"


def _object(path: str, schema: dict[str, Any], seen: dict[str, str]) -> list[str]:
    """A section; then those of the objects in it. `seen`: description -> where it was shown before."""
    about = " ".join(str(schema.get("description", "")).split()).replace("|", "\\|")
    lines = [f"### `{path}`", ""]
    if about and about in seen:
        return [*lines, f"As `{seen[about]}`.", ""]
    seen[about] = path
    if about:
        lines += [about, ""]
    rules = [each["message"] for each in schema.get("x-kubernetes-validations", ())]
    lines += [*(f"- refused: {rule}" for rule in rules), *([""] if rules else [])]
    lines += ["| field | type | |", "|---|---|---|"]
    inner = []
    for name, field in schema["properties"].items():
        needed = name in schema.get("required", ())
        lines.append(f"| `{name}` | {_type(field)} | {_told(field, needed=needed)} |")
        if (within := _within(f"{path}.{name}", field)) is not None:
            inner.append(within)
    lines.append("")
    for where, field in inner:
        lines += _object(where, field, seen)
    return lines


def _within(path: str, field: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The object that a field is, that its items are or that its keys name."""
    if "properties" in field:
        return path, field
    if "items" in field:
        return _within(f"{path}[]", field["items"])
    if "additionalProperties" in field:
        return _within(f"{path}.*", field["additionalProperties"])
    return None


def _type(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " \\| ".join(f"`{each}`" for each in field["enum"])
    if "items" in field and field.get("type") == "array":
        return f"list of {_type(field['items'])}"
    if "additionalProperties" in field:
        return f"name: {_type(field['additionalProperties'])}"
    if field.get("x-kubernetes-int-or-string"):
        return "integer or text"
    if "type" not in field:
        return "one of several forms"
    return {"string": "text", "boolean": "yes or no"}.get(field["type"], str(field["type"]))


def _told(field: dict[str, Any], *, needed: bool) -> str:
    told = ["needed"] if needed else []
    if "default" in field and not isinstance(field["default"], dict):
        told.append(f"default `{field['default']}`")
    if "type" in field:
        told += [text.format(field[name]) for name, text in BOUNDS if name in field]
    told += [each["message"] for each in field.get("x-kubernetes-validations", ()) if "properties" not in field]
    if field.get("nullable"):
        told.append("may be null")
    return "; ".join(told).replace("|", "\\|")


if __name__ == "__main__":
    print(tables(), end="")
