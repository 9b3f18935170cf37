"""One rollout being followed: ticks are read from the logs, joined and assessed, one after the other."""

from __future__ import annotations

import logging
import re
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from monitors import checkpoint
from monitors.assess import Assessor
from monitors.gauges import Layout
from monitors.inputs import InputState
from monitors.join import Due, combine, early_horizons, horizons, join_answers, join_early, join_mature
from monitors.log import LogReader
from monitors.references import references
from monitors.rows import Tick
from serinus.errors import BadInput
from serinus.evidence import Evidence, InputEvidence, WorkItem

if TYPE_CHECKING:
    from monitors.shards import Shards

_log = logging.getLogger(__name__)
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


def read_tick(item: WorkItem, reader: LogReader, previous_ms: int, tick_ms: int) -> Tick:
    """Everything that is due at `tick_ms` and was not at `previous_ms` (event time, Unix ms)."""
    parts, broken = [], set[str]()
    for wait_s, tasks in horizons(item.sla).items():
        due = (previous_ms - wait_s * 1000, tick_ms - wait_s * 1000)
        predictions, bad = reader.predictions(*due)
        labels, worse = reader.labels(*due)
        parts.append(join_mature(item, tasks, Due(predictions, labels, reader.words), tick_ms))
        broken |= {*bad, *worse}
    for wait_s, tasks in early_horizons(item.sla).items():
        due = (previous_ms - wait_s * 1000, tick_ms - wait_s * 1000)
        predictions, bad = reader.predictions(*due)
        labels, worse = reader.labels(*due)
        parts.append(join_early(item, tasks, Due(predictions, labels, reader.words), tick_ms))
        broken |= {*bad, *worse}
    answered, bad = reader.predictions(previous_ms, tick_ms)
    answers = join_answers(item, answered, reader.words)
    return combine(tick_ms, parts, answers, tuple(sorted(broken | set(bad))), reader.lost(previous_ms, tick_ms))


@dataclass(slots=True)
class Follower:
    """`posted_ms`: the newest look that the controller has; `unsaved`: looks since the last checkpoint; `shards`: who
    reads and accumulates, when it is not this process alone; `inputs`: of their checks, None: none are recorded."""

    assessor: Assessor
    reader: LogReader
    path: Path
    posted_ms: int | None
    unsaved: int = 0
    shards: Shards | None = None
    inputs: InputState | None = None

    @classmethod
    def start(cls, item: WorkItem, log: Path, state: Path, shards: Shards | None = None) -> Follower:
        """Go on from the checkpoint; from the first row when there is none that fits.

        One that is ahead of the controller does not fit: looks that it lost are made again. Raises BadInput when the
        rollout's id cannot name a file."""
        if not _FILE_NAME.fullmatch(item.rollout):
            raise BadInput(f"the rollout {item.rollout[:80]!r} cannot name a file")
        path = state / f"{item.rollout}.npz"
        assessor, inputs = _saved(path, item) or (Assessor(item), _input_state(item))
        reader = LogReader(log, item.model, item.sla.slice_features)
        return cls(assessor, reader, path, item.last_tick_ms, shards=shards, inputs=inputs)

    @property
    def item(self) -> WorkItem:
        return self.assessor.item

    @property
    def at_ms(self) -> int:
        """The last tick consumed; before the first: the tick at or before the start."""
        step = self.item.sla.tick_s * 1000
        start = self.item.started_event_ms // step * step
        return start if self.assessor.last_tick_ms is None else self.assessor.last_tick_ms

    def look(self, watermark_ms: int) -> Evidence | None:
        """The next look, if its tick is not after the watermark."""
        tick_ms = self.at_ms + self.item.sla.tick_s * 1000
        if tick_ms > watermark_ms:
            return None
        checks = self._check_inputs(tick_ms)
        if self.shards is None:
            tick = read_tick(self.item, self.reader, self.at_ms, tick_ms)
            evidence = self.assessor.consume(replace(tick, inputs=checks))
        else:
            parts = self.shards.parts(self.assessor.whole, self.at_ms, tick_ms)
            evidence = self.assessor.consume_parts(tick_ms, parts, checks)
        self.unsaved += 1
        return evidence

    def _check_inputs(self, tick_ms: int) -> tuple[InputEvidence, ...]:
        if self.inputs is None:
            return ()
        rows, _ = self.reader.inputs(self.at_ms, tick_ms)
        return self.inputs.consume(rows, tick_ms)

    def is_news(self, evidence: Evidence) -> bool:
        """False for a look that the controller has already (it was made again after a restart)."""
        return self.posted_ms is None or evidence.tick_ms > self.posted_ms

    def save(self) -> None:
        """Write the checkpoint; only to be called when the controller has every look that is in it."""
        if self.unsaved:
            checkpoint.save(self.assessor, self.path, self.inputs.state() if self.inputs is not None else None)
            self.unsaved = 0


def _input_state(item: WorkItem) -> InputState | None:
    if not item.sla.serving.inputs_share:
        return None
    return InputState(Layout.of(item.sla, references(item.packages, (item.baseline, item.candidate))))


def _saved(path: Path, item: WorkItem) -> tuple[Assessor, InputState | None] | None:
    if not path.exists():
        return None
    try:
        assessor = checkpoint.load(path)
        inputs = _input_state(item)
        if inputs is not None:
            inputs = InputState.of_state(inputs.layout, checkpoint.inputs_of(path))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, msgspec.MsgspecError) as error:
        _log.error("the checkpoint %s cannot be used, the logs are read again: %s", path, error)
        return None
    same = assessor.item.model_copy(update={"last_tick_ms": None}) == item.model_copy(update={"last_tick_ms": None})
    ahead = (assessor.last_tick_ms or 0) > (item.last_tick_ms or 0)
    if not same or ahead:
        _log.warning("the checkpoint %s %s", path, "is ahead of the controller" if same else "is of another plan")
        return None
    return assessor, inputs
