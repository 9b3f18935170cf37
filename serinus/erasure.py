"""What it takes to have one entity's rows erased from the logs of a model, and what was found."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from pydantic import Field, ValidationError

from serinus.errors import BadInput
from serinus.tasks import Word

__all__ = ["Erased", "Erasure", "entity_sha256", "erasure_of", "without_entity"]

MOST_WAIT_S = 3_600.0


class Erasure(Word):
    """The parameters of a job of kind `erase`. `entity`: as requests name it; `wait_s`: for how long files that are
    still written to may be waited for."""

    entity: Annotated[str, Field(min_length=1, max_length=1_024)]
    wait_s: Annotated[float, Field(ge=0, le=MOST_WAIT_S)] = 900.0


class Erased(Word):
    """The result. `rows`: removed, by kind; `rewritten`: files that were; `open_rows`, `open_files`: left in files that
    were written to until the end, or that wait for such; `damaged`: files that cannot be read, by name, of which nobody
    knows what they hold. `complete`: nothing is left that could be found."""

    entity_sha256: str
    hours: int = 0
    rows: dict[str, int] = {}
    rewritten: int = 0
    open_rows: int = 0
    open_files: int = 0
    damaged: tuple[str, ...] = ()
    complete: bool = False
    said: str = ""


def entity_sha256(entity: str) -> str:
    """Hex: what is written down of an entity that is to be forgotten."""
    return hashlib.sha256(entity.encode()).hexdigest()


def erasure_of(params: dict[str, Any]) -> Erasure:
    """Raises BadInput, without a word of what was given."""
    try:
        return Erasure.model_validate(params)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "params"
        raise BadInput(f"{where}: {first['msg']}") from None


def without_entity(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters as anybody may see them: with the SHA-256 in the place of the entity."""
    shown = {name: value for name, value in params.items() if name != "entity"}
    entity = params.get("entity")
    return shown | ({"entity_sha256": entity_sha256(entity)} if isinstance(entity, str) else {})
