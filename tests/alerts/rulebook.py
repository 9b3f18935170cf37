"""The rules and alerts as the repository has them, and the tools that judge them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
PROMETHEUS = REPOSITORY / "deploy" / "prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
CASES = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Rule:
    """A rule of a file; `alert` is "" for those that record."""

    file: str
    alert: str
    record: str
    expr: str
    labels: dict[str, str]
    annotations: dict[str, str]


def rules() -> Iterator[Rule]:
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                yield Rule(
                    path.name,
                    rule.get("alert", ""),
                    rule.get("record", ""),
                    rule["expr"],
                    rule.get("labels", {}),
                    rule.get("annotations", {}),
                )


def cases() -> dict[str, dict[str, Any]]:
    """File of a promtool test -> what it says."""
    return {path.name: yaml.safe_load(path.read_text()) for path in sorted(CASES.glob("*.yml"))}


def tool(name: str, package: str) -> str:
    """Path of a program; fails with the Debian package that has it."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is not here: install it (apt-get install {package})")
    return found
