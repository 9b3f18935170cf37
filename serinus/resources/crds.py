"""The three resources as Kubernetes' CustomResourceDefinitions, made from the same words as the API.

python -m serinus.resources.crds FOLDER    writes them there
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from serinus.resources.columns import COLUMNS, NAMES
from serinus.resources.metadata import GROUP, VERSION, Metadata
from serinus.resources.model import ModelSpec
from serinus.resources.pool import PoolSpec
from serinus.resources.rollout import RolloutSpec
from serinus.resources.rules import CHECKED
from serinus.resources.schemas import structural

__all__ = ["crds", "main", "written"]

TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
STATUS: dict[str, dict[str, Any]] = {
    "ServingPool": {"endpoint": TEXT, "ready": TEXT, "service_status": TEXT},
    "MultiTaskModel": {"stable": NUMBER, "previous": NUMBER, "digest": TEXT, "rollout": TEXT, "alerts": NUMBER},
    "Rollout": {
        "id": TEXT,
        "model_version": NUMBER,
        "baseline": NUMBER,
        "phase": TEXT,
        "step": NUMBER,
        "steps": NUMBER,
        "canary": TEXT,
        "verdict": TEXT,
        "waiting_for": TEXT,
        "violated": {"type": "array", "items": TEXT},
        "moves": NUMBER,
        "started_at": {"type": "string", "format": "date-time"},
        "ended_at": {"type": "string", "format": "date-time"},
    },
}
CONDITIONS = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
    "items": {
        "type": "object",
        "required": ["type", "status", "reason", "lastTransitionTime"],
        "properties": {
            "type": TEXT,
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "reason": TEXT,
            "message": TEXT,
            "observedGeneration": NUMBER,
            "lastTransitionTime": {"type": "string", "format": "date-time"},
        },
    },
}


def crds() -> dict[str, dict[str, Any]]:
    """Kind -> its definition. What a pool leaves out Kubernetes fills in; of an SLA or a plan the controller does."""
    return {
        "ServingPool": _definition("ServingPool", PoolSpec, defaults=True),
        "MultiTaskModel": _definition("MultiTaskModel", ModelSpec, defaults=False),
        "Rollout": _definition("Rollout", RolloutSpec, defaults=False),
    }


def written(definition: dict[str, Any]) -> str:
    """Its file."""
    return yaml.dump(definition, Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)


def _definition(kind: str, word: type[BaseModel], *, defaults: bool) -> dict[str, Any]:
    plural, singular, short = NAMES[kind]
    spec = structural(word, defaults=defaults)
    if kind == "MultiTaskModel":
        spec["properties"]["sla"]["required"].remove("model")  # it is the resource's own name
        spec["properties"]["pool"]["default"] = "default"
    whole = {
        "type": "object",
        "description": (word.__doc__ or "").strip(),
        "required": ["spec"],
        "properties": {
            "apiVersion": TEXT,
            "kind": TEXT,
            "metadata": {"type": "object", "properties": {"name": _name()}},
            "spec": spec,
            "status": {
                "type": "object",
                "properties": {**STATUS[kind], "observedGeneration": NUMBER, "conditions": CONDITIONS},
            },
        },
    }
    for path, rules in CHECKED[kind].items():
        known = _at(whole, path).setdefault("x-kubernetes-validations", [])
        known += [{"rule": rule, "message": text} for rule, text in rules]
    columns = [*COLUMNS[kind], ("Age", "date", ".metadata.creationTimestamp", 0)]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}", "labels": {"app.kubernetes.io/name": "serinus"}},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": singular,
                "shortNames": [short],
                "categories": ["serinus"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": whole},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": name, "type": kind_, "jsonPath": path, "priority": priority}
                        for name, kind_, path, priority in columns
                    ],
                }
            ],
        },
    }


def _name() -> dict[str, Any]:
    told = Metadata.model_json_schema()["properties"]["name"]
    return {"type": "string", "pattern": told["pattern"]}


def _at(schema: dict[str, Any], path: str) -> dict[str, Any]:
    """The schema of a field: `spec.sla.tasks.*` is that of what a mapping maps to, `[]` that of a list's items."""
    for step in path.split(".") if path else ():
        match step:
            case "*":
                schema = schema["additionalProperties"]
            case "[]":
                schema = schema["items"]
            case _:
                schema = schema["properties"][step]
    return schema


class _Plain(yaml.SafeDumper):
    """Without anchors, which no reader of such a file expects."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0])
    for kind, definition in crds().items():
        (folder / f"{NAMES[kind][0]}.yaml").write_text(written(definition))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
