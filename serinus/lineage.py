"""Where a version comes from: told by its maker, kept in the package's manifest (`provenance`)."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from serinus.errors import BadInput
from serinus.signing import Digest
from serinus.tasks import Word

__all__ = ["Lineage", "code_revision"]

KEYS = ("code_revision", "data_window", "parent")
Text = Annotated[str, Field(min_length=1, max_length=200)]


class Lineage(Word):
    """`code_revision`: of the code that trained it. `data_window`: of what it learnt from, "2013-01-01/2013-10-01".

    `parent`: digest of the package that it was made from (fine-tuned, quantized). None: not told."""

    code_revision: Text | None = None
    data_window: Text | None = None
    parent: Digest | None = None

    def provenance(self) -> dict[str, str]:
        """As a manifest keeps it."""
        return {name: value for name in KEYS if (value := getattr(self, name)) is not None}

    @classmethod
    def of(cls, provenance: Mapping[str, str]) -> Lineage:
        """What a manifest tells; what does not look as it should counts as not told, for anybody may have written."""
        told = {name: provenance[name][:200] for name in KEYS if provenance.get(name)}
        if not re.fullmatch(r"[0-9a-f]{64}", told.get("parent", "")):
            told.pop("parent", None)
        return cls.model_validate(told)


def code_revision(folder: Path | str = ".") -> str:
    """The git commit of the code in `folder`, with "-dirty" when a file differs from it.

    Raises BadInput where there is no git, or no commit."""
    try:
        commit = _git(folder, "rev-parse", "--verify", "HEAD").strip()
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no").strip()
    except (OSError, subprocess.SubprocessError) as error:
        raise BadInput(f"the git revision of {folder} cannot be told", "give `code_revision` as a text") from error
    return f"{commit}-dirty" if changed else commit


def _git(folder: Path | str, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
