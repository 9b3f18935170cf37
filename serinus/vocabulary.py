"""The texts that a package's preprocessing knows, read from its graphs.

A graph that follows `ai.onnx.ml` turns texts into numbers by LabelEncoder nodes, whose keys are the vocabulary. All
else is the node's default: to the network one unknown text is like any other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from serinus.errors import InvalidPackage
from serinus.package import Manifest

__all__ = ["vocabularies"]

_PASSING = frozenset({"Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten"})
"""Nodes that leave texts as they are."""
MAX_GRAPH_BYTES = 256 << 20


def vocabularies(folder: Path, manifest: Manifest) -> dict[str, frozenset[str]]:
    """Raw text input -> the texts that every encoder which reads it knows, the empty text not among them.

    `folder`: of a package whose files are those of `manifest`. An input that no encoder reads is not there.
    Raises InvalidPackage for a graph that cannot be read, OSError."""
    texts = {spec.name for spec in manifest.inputs if spec.datatype == "BYTES"}
    found: dict[str, frozenset[str]] = {}
    for part in manifest.parts:
        if not texts.intersection(part.inputs) or manifest.files[part.file].size_bytes > MAX_GRAPH_BYTES:
            continue
        try:
            graph = onnx.load(str(folder / part.file), load_external_data=False).graph
        except OSError:
            raise
        except Exception as error:  # protobuf has errors of its own
            raise InvalidPackage(f"part {part.name!r}: {part.file} is no graph: {error}") from error
        names = dict(zip([value.name for value in graph.input], part.inputs, strict=False))
        for source, words in _encoders(graph, {own: raw for own, raw in names.items() if raw in texts}):
            found[source] = found[source] & words if source in found else words
    return found


def _encoders(graph: Any, source: dict[str, str]) -> list[tuple[str, frozenset[str]]]:
    """(raw input, keys) of every encoder of texts. `source`: tensor -> raw input; what passes one on is added."""
    found = []
    for node in graph.node:
        raw = source.get(node.input[0]) if node.input else None
        if raw is None:
            continue
        if node.op_type in _PASSING:
            source[node.output[0]] = raw
        elif node.op_type == "LabelEncoder":
            keys = [key for each in node.attribute if each.name == "keys_strings" for key in each.strings]
            if keys:
                found.append((raw, frozenset(key.decode(errors="replace") for key in keys) - {""}))
    return found
