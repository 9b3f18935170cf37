"""YAML that a person wrote, as a checked word; or where it is wrong, what was found there and what was expected."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, NamedTuple, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from serinus.errors import BadInput, SerinusError

__all__ = ["MAX_YAML_BYTES", "Document", "read_documents", "read_yaml"]

MAX_YAML_BYTES = 1 << 20
MOST_TOLD = 5
SHOWN = 60
Checked = TypeVar("Checked", bound=BaseModel)


class Document(NamedTuple):
    """One document of a file: its nodes, which know their lines, and its value."""

    root: yaml.Node | None
    value: Any
    source: str

    @property
    def place(self) -> str:
        return _place(self.source, self.root)

    def checked(self, kind: type[Checked], error: type[SerinusError] = BadInput) -> Checked:
        """The document as `kind`. Raises `error`, each line of which says what was found where, and what expected."""
        try:
            return kind.model_validate(self.value)
        except ValidationError as wrong:
            raise error("\n".join(_told(kind, self.root, self.source, wrong.errors()))) from wrong


def read_yaml(kind: type[Checked], text: str, source: str, error: type[SerinusError] = BadInput) -> Checked:
    """The document as `kind`. `source`: how the file is named in messages.

    Raises `error`, each line of which says file, line, column, field, what is wrong and what was expected."""
    documents = read_documents(text, source, error)
    if len(documents) > 1:
        raise error(f"{documents[1].place}: another document begins here, expected one")
    document = documents[0] if documents else Document(None, None, source)
    return document.checked(kind, error)


def read_documents(text: str, source: str, error: type[SerinusError] = BadInput) -> list[Document]:
    """Every document of a text. Raises `error` with the place of what is no YAML, or there twice."""
    if len(text.encode()) > MAX_YAML_BYTES:
        raise error(f"{source} is larger than {MAX_YAML_BYTES} bytes")
    try:
        roots = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
        if twice := next((key for root in roots for key in _repeated(root, set())), None):
            raise error(f"{_place(source, twice)}: {twice.value} is there twice")
        values = list(yaml.safe_load_all(text))
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        where = f"{source}, line {mark.line + 1}, column {mark.column + 1}" if mark else source
        raise error(f"{where}: this is not YAML: {wrong.problem or wrong.context}") from wrong
    except (yaml.YAMLError, RecursionError, ValueError) as wrong:  # ValueError: a date that there is not
        raise error(f"{source}: this is not YAML: {wrong}") from wrong
    return [Document(root, value, source) for root, value in zip(roots, values, strict=True)]


def _told(kind: type[BaseModel], root: yaml.Node | None, source: str, found: Iterable[ErrorDetails]) -> list[str]:
    """A line for each field that is wrong, at most `MOST_TOLD`."""
    lines: dict[str, str] = {}
    for each in sorted(found, key=lambda each: each["type"] != "extra_forbidden"):  # often why another is missing
        path, node = _resolve(root, each)
        name = ".".join(path)
        what = _what(kind, path, each)
        if name and not what.startswith(f"{name}"):
            what = f"{name}: {what}"
        lines.setdefault(name or what, f"{_place(source, node)}: {what}")
    told = list(lines.values())
    more = [f"and {len(told) - MOST_TOLD} more"] if len(told) > MOST_TOLD else []
    return told[:MOST_TOLD] + more


def _resolve(root: yaml.Node | None, wrong: ErrorDetails) -> tuple[list[str], yaml.Node | None]:
    """(The path of what is wrong, the node to point at).

    A check of the whole document begins its message with the path of what it means, where it can."""
    steps: tuple[Any, ...] = wrong["loc"]
    if not steps and (said := re.match(r"(?:Value error, )?([\w-]+(?:\.[\w-]+)+)\b", wrong["msg"])):
        steps = tuple(int(step) if step.isdigit() else step for step in said[1].split("."))
    path, node, shown = list[str](), root, root
    for at, step in enumerate(steps):
        key, inner = _step(node, step)
        if inner is None:  # the form of a union, or a field that is missing
            if wrong["type"] == "missing" and at == len(steps) - 1:
                path.append(str(step))
            continue
        path.append(str(step))
        node, shown = inner, key if wrong["type"] == "extra_forbidden" or key is None else inner
    return path, shown


def _step(node: yaml.Node | None, step: Any) -> tuple[yaml.Node | None, yaml.Node | None]:
    """(The key, the value) of a step into a node; (None, None) where it leads nowhere."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == str(step):
                return key, value
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step]
    return None, None


def _what(kind: type[BaseModel], path: list[str], wrong: ErrorDetails) -> str:
    message, context = wrong["msg"].removeprefix("Value error, "), wrong.get("ctx") or {}
    match wrong["type"]:
        case "extra_forbidden":
            names = _fields(kind, path[:-1])
            known = f"; known are {', '.join(names)}" if names else ""
            return f"unknown field {path[-1]!r}{_meant(path[-1], names) or known}"
        case "missing":
            return "missing, it is required"
        case "value_error":
            return message
        case "literal_error" | "enum":
            expected = str(context.get("expected", ""))
            options = re.findall(r"'([^']*)'", expected)
            return f"expected {expected}, found {_shown(wrong['input'])}{_meant(wrong['input'], options)}"
    return f"{message[:1].lower()}{message[1:]}, found {_shown(wrong['input'])}"


def _meant(word: Any, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    return repr(value)[:SHOWN]


def _fields(kind: Any, path: list[str]) -> list[str]:
    """The fields that a mapping at this path may have."""
    kinds = list(_flat(kind))
    for step in path:
        kinds = [inner for each in kinds for inner in _inside(each, step)] or kinds
    models = [each for each in kinds if isinstance(each, type) and issubclass(each, BaseModel)]
    return list(dict.fromkeys(name for each in models for name in each.model_fields))


def _flat(kind: Any) -> Iterator[Any]:
    """The alternatives of a union, without annotations."""
    if get_origin(kind) is Annotated:
        yield from _flat(get_args(kind)[0])
    elif get_origin(kind) in (Union, types.UnionType):
        for each in get_args(kind):
            yield from _flat(each)
    else:
        yield kind


def _inside(kind: Any, step: str) -> Iterator[Any]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if step in kind.model_fields:
            yield from _flat(kind.model_fields[step].annotation)
    elif get_origin(kind) in (dict, Mapping):
        yield from _flat(get_args(kind)[1])
    elif get_origin(kind) in (list, tuple):
        yield from _flat(get_args(kind)[0])


def _repeated(node: yaml.Node | None, seen: set[int]) -> Iterator[yaml.ScalarNode]:
    """Keys that a mapping has twice, of which YAML would take the last."""
    if node is None or id(node) in seen or isinstance(node, yaml.ScalarNode):
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        known: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in known and key.tag != "tag:yaml.org,2002:merge":
                    yield key
                known.add(key.value)
            yield from _repeated(value, seen)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _repeated(value, seen)


def _place(source: str, node: yaml.Node | None) -> str:
    mark = node.start_mark if node is not None else None
    return f"{source}, line {mark.line + 1}, column {mark.column + 1}" if mark else source
