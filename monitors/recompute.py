"""A look made again from the state that it was made from, here or as a job of kind "recompute"."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from monitors.assess import Assessor
from monitors.kept import FOLDER, read_kept
from monitors.statefile import unpack
from serinus.errors import BadInput, NotFound
from serinus.evidence import Evidence, WorkItem
from serinus.jobs import Job

__all__ = ["first_difference", "recompute", "run"]


def recompute(item: WorkItem, state: bytes) -> Evidence:
    """The evidence of `Assessor.state_bytes`, bit for bit that of the look after which they were taken.

    Raises ValueError when the bytes are no such state, of another rollout, or of a method that is not known here."""
    try:
        return Assessor.of_state(item, unpack(state)).look()
    except KeyError as error:
        raise ValueError(f"the state lacks {error}") from error


def run(job: Job, log: Path, state: Path, progress: Callable[[float, str], None]) -> dict[str, Any]:
    """`params`: `evidence`, a look as it was reported. Its state is among those that this monitor kept.

    Gives `equal`, and where it is not so the first `field` that differs, as `reported` and as `found`; None, and `why`,
    when the state is not kept. Raises BadInput when it is damaged, or the evidence is none."""
    del log
    try:
        evidence = Evidence.model_validate(job.params.get("evidence"))
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"evidence.{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    told = {"digest": evidence.digest, "tick_ms": evidence.tick_ms, "rollout": evidence.rollout}
    progress(0.1, "reading the state")
    try:
        item, kept = read_kept(state.parents[2] / FOLDER, evidence.rollout, evidence.state_digest)
    except NotFound as error:
        return {**told, "equal": None, "why": error.detail}
    progress(0.3, "computing again")
    try:
        again = recompute(item, kept)
    except ValueError as error:
        raise BadInput(f"the state cannot be computed again: {error}") from error
    if again.model_dump_json() == evidence.model_dump_json():
        return {**told, "equal": True}
    field, reported, found = first_difference(_plain(evidence), _plain(again)) or ("", None, None)
    return {**told, "equal": False, "field": field, "reported": reported, "found": found}


def first_difference(a: Any, b: Any, at: str = "") -> tuple[str, Any, Any] | None:
    """(path, a's value, b's value) of the first place where two plain values differ; None where they are equal."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        pairs = [(f"{at}.{key}".lstrip("."), a[key], b[key]) for key in a]
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        pairs = [(f"{at}[{place}]", x, y) for place, (x, y) in enumerate(zip(a, b, strict=True))]
    else:
        return None if type(a) is type(b) and a == b else (at, a, b)
    return next((found for path, x, y in pairs if (found := first_difference(x, y, path)) is not None), None)


def _plain(evidence: Evidence) -> Any:
    return json.loads(evidence.model_dump_json())
