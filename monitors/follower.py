"""One rollout being followed: ticks are read from the logs, joined and assessed, one after the other."""

from __future__ import annotations

import logging
import re
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from monitors import checkpoint
from monitors.assess import Assessor
from monitors.gauges import Layout
from monitors.inputs import InputState
from monitors.kept import FOLDER, Keeper
from monitors.late import seen_labels
from monitors.log import LogReader
from monitors.maturity import Maturity
from monitors.references import references
from monitors.rows import Tick
from monitors.slices import opened, resolved
from monitors.ticks import Reach, read_tick
from serinus.errors import BadInput
from serinus.evidence import Evidence, InputEvidence, WorkItem

if TYPE_CHECKING:
    from monitors.shards import Shards

__all__ = ["Follower", "read_tick"]

_log = logging.getLogger(__name__)
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


@dataclass(slots=True)
class Follower:
    """`posted_ms`: the newest look that the controller has; `unsaved`: looks since the last checkpoint; `shards`: who
    reads and accumulates, when it is not this process alone; `inputs`: of their checks, None: none are recorded;
    `checks`: those of the newest look; `maturity`: how far each task's labels were looked at; `keeper`: of states that
    looks can be made again from."""

    assessor: Assessor
    reader: LogReader
    path: Path
    posted_ms: int | None
    unsaved: int = 0
    shards: Shards | None = None
    inputs: InputState | None = None
    checks: tuple[InputEvidence, ...] = ()
    maturity: Maturity = field(init=False)
    keeper: Keeper | None = None

    def __post_init__(self) -> None:
        if self.inputs is not None and self.assessor.last_tick_ms is not None:
            self.checks = tuple(each.evidence for each in self.inputs.judge(self.at_ms))
        self.maturity = Maturity.begin(self.item, self.at_ms)

    @classmethod
    def start(cls, item: WorkItem, log: Path, state: Path, shards: Shards | None = None) -> Follower:
        """Go on from the checkpoint; from the first row when there is none that fits.

        One that is ahead of the controller does not fit: looks that it lost are made again. Raises BadInput when the
        rollout's id cannot name a file."""
        if not _FILE_NAME.fullmatch(item.rollout):
            raise BadInput(f"the rollout {item.rollout[:80]!r} cannot name a file")
        path = state / f"{item.rollout}.npz"
        assessor, inputs, maturity = _saved(path, item) or (Assessor(item), _input_state(item), None)
        reader = LogReader(log, item.model, item.sla.slice_features)
        follower = cls(assessor, reader, path, item.last_tick_ms, shards=shards, inputs=inputs)
        follower.maturity = maturity or follower.maturity
        follower.keeper = Keeper(state / FOLDER / item.rollout)
        return follower

    @property
    def item(self) -> WorkItem:
        return self.assessor.item

    @property
    def at_ms(self) -> int:
        """The last tick consumed; before the first: the tick at or before the start."""
        step = self.item.sla.tick_s * 1000
        start = self.item.started_event_ms // step * step
        return start if self.assessor.last_tick_ms is None else self.assessor.last_tick_ms

    def look(
        self, watermark_ms: int, held: Mapping[str, int] | None = None, holds: tuple[str, ...] = ()
    ) -> Evidence | None:
        """The next look, if its tick is not after the watermark.

        `held`: task -> event time beyond which its labels are not complete, for its source is silent; `holds`: what is
        to be said of that."""
        tick_ms, before_ms = self.at_ms + self.item.sla.tick_s * 1000, self.at_ms
        if tick_ms > watermark_ms:
            return None
        self._close_slices(tick_ms)
        self.checks = checks = self._check_inputs(tick_ms)
        reach = self.maturity.reach(tick_ms, held or {})
        if self.shards is None:
            tick = read_tick(self.item, self.reader, before_ms, tick_ms, reach)
            tick = replace(tick, inputs=checks, holds=holds)
            more = self._late(reach, tick.labels_seen, before_ms, tick_ms)
            evidence = self.assessor.consume(replace(tick, counts=dict(Counter(tick.counts) + Counter(more))))
        else:
            parts = self.shards.parts(self.assessor.whole, before_ms, tick_ms, reach)
            more = self._late(reach, seen_labels(self.item, self.reader, reach), before_ms, tick_ms)
            own = self.assessor.whole.blank()
            own.add(Tick(tick_ms, {}, {}, more, holds=holds))
            evidence = self.assessor.consume_parts(tick_ms, [*parts, own], checks)
        self.unsaved += 1
        if self.keeper is not None:
            step = self.item.sla.tick_s * 1000
            self.keeper.take(self.assessor, evidence, newest=tick_ms + step > watermark_ms)
        return evidence

    def _late(self, reach: Reach, seen: Mapping[tuple[str, int], int], before_ms: int, tick_ms: int) -> dict[str, int]:
        self.maturity.take(reach, seen)
        return self.maturity.look(self.reader, before_ms, tick_ms)

    def _close_slices(self, tick_ms: int) -> None:
        """Find the values of open slices once somebody was answered; before that no row is in any cell."""
        item = resolved(self.item, self.reader, tick_ms)
        if item is not self.item and item.sla != self.item.sla:
            last_tick_ms = self.assessor.last_tick_ms
            self.assessor = Assessor(item)
            self.assessor.last_tick_ms = last_tick_ms

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
            inputs = self.inputs.state() if self.inputs is not None else None
            checkpoint.save(self.assessor, self.path, inputs, self.maturity.state())
            self.unsaved = 0
            if self.keeper is not None:
                self.keeper.flush()


def _input_state(item: WorkItem) -> InputState | None:
    if not item.sla.serving.inputs_share:
        return None
    return InputState(Layout.of(item.sla, references(item.packages, (item.baseline, item.candidate))))


def _saved(path: Path, item: WorkItem) -> tuple[Assessor, InputState | None, Maturity] | None:
    if not path.exists():
        return None
    try:
        assessor = checkpoint.load(path)
        inputs = _input_state(item)
        if inputs is not None:
            inputs = InputState.of_state(inputs.layout, checkpoint.inputs_of(path))
        maturity = Maturity.of_state(item, checkpoint.labels_of(path))
    except (OSError, KeyError, IndexError, ValueError, zipfile.BadZipFile, msgspec.MsgspecError) as error:
        _log.error("the checkpoint %s cannot be used, the logs are read again: %s", path, error)
        return None
    same = opened(assessor.item) == opened(item)
    ahead = (assessor.last_tick_ms or 0) > (item.last_tick_ms or 0)
    if not same or ahead:
        _log.warning("the checkpoint %s %s", path, "is ahead of the controller" if same else "is of another plan")
        return None
    return assessor, inputs, maturity
