"""What a preflight keeps on disk, and the window that it looks at.

STATE/survey.json    what the first pass found
STATE/replay         how far the second pass is, with its accumulators, counts and last look: replaced as a whole
"""

from __future__ import annotations

import logging
import os
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec
from pydantic import ValidationError

from monitors import checkpoint
from monitors.assess import Assessor
from serinus.evidence import Evidence, WorkItem
from serinus.preflights import PreflightParams

__all__ = ["HOUR_MS", "Progressed", "Survey", "Window"]

_log = logging.getLogger(__name__)
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Window:
    """Event time [`start_ms`, `end_ms`) in steps: whole hours where ticks are shorter, for so the logs lie."""

    start_ms: int
    end_ms: int
    step_ms: int

    @classmethod
    def of(cls, params: PreflightParams, until_ms: int) -> Window:
        """It ends where every task's labels are mature at `until_ms`."""
        sla = params.item.sla
        tick_ms = sla.tick_s * 1000
        step_ms = HOUR_MS if HOUR_MS % tick_ms == 0 else tick_ms
        mature_ms = until_ms - max(sla.horizon_s(task) for task in sla.tasks) * 1000
        end_ms = mature_ms // step_ms * step_ms
        return cls(end_ms - max(1, params.preflight.window_s * 1000 // step_ms) * step_ms, end_ms, step_ms)

    @property
    def steps(self) -> list[int]:
        """The end of each step."""
        return list(range(self.start_ms + self.step_ms, self.end_ms + 1, self.step_ms))


class Survey(msgspec.Struct, frozen=True):
    """What the first pass found; `rows`: of the requests with inputs; `names`: inputs that any of them had."""

    requests: int
    with_inputs: int
    rows: int
    names: list[str]
    differences: list[dict[str, Any]]

    @classmethod
    def read(cls, state: Path) -> Self | None:
        try:
            return msgspec.json.decode((state / "survey.json").read_bytes(), type=cls)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError:
            _log.exception("what was surveyed cannot be read, it is surveyed again")
            return None

    def write(self, state: Path) -> None:
        _write_whole(state / "survey.json", msgspec.json.encode(self))


class _Saved(msgspec.Struct, frozen=True):
    assessor: bytes
    rows: int
    unusable: dict[str, int]
    evidence: bytes


@dataclass(slots=True)
class Progressed:
    """The second pass at the end of a step: the state of its evidence, the last look, what was scored and what not."""

    assessor: Assessor
    evidence: Evidence | None
    rows: int
    unusable: Counter[str]

    @classmethod
    def read(cls, state: Path, item: WorkItem) -> Self:
        """As it was written; from the first step on when nothing was, or nothing that can be read."""
        fresh = cls(Assessor(item, replay=True), None, 0, Counter())
        path, beside = state / "replay", state / "assessor.npz"
        if not path.exists():
            return fresh
        try:
            saved = msgspec.msgpack.decode(path.read_bytes(), type=_Saved)
            beside.write_bytes(saved.assessor)
            assessor = checkpoint.load(beside)
            evidence = Evidence.model_validate_json(saved.evidence)
        except (msgspec.MsgspecError, ValidationError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            _log.exception("the state of the preflight cannot be read, it begins anew")
            return fresh
        beside.unlink()
        return cls(assessor, evidence, saved.rows, Counter(saved.unusable))

    def write(self, state: Path) -> None:
        """What was scored and what came of it, in one replacement of the file."""
        if self.evidence is None:
            return
        beside = state / "assessor.npz"
        checkpoint.save(self.assessor, beside)
        evidence = self.evidence.model_dump_json().encode()
        saved = _Saved(beside.read_bytes(), self.rows, dict(self.unusable), evidence)
        _write_whole(state / "replay", msgspec.msgpack.encode(saved))
        beside.unlink()


def _write_whole(path: Path, data: bytes) -> None:
    beside = path.with_name(f"{path.name}.new")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
