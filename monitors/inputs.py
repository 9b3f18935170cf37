"""Raw inputs as they come, counted by hour of event time, for everybody and by slice.

Counts add, so any order of rows and any cut into parts gives the same state, bit by bit. Hours older than what the
checks look at are dropped at each tick.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from monitors.accumulators import State
from monitors.gauges import Layout
from monitors.input_checks import Checked, Seen, check
from monitors.raw_inputs import Batch, batches, signed, unique
from monitors.spells import Distinct
from serinus.archive_rows import entity_hash
from serinus.evidence import InputEvidence
from serinus.ids import event_ms_of
from serinus.records import InputRow

__all__ = ["InputState"]

Ints = NDArray[np.int64]
HOUR_MS = 3_600_000
DAY_H, WEEK_H = 24, 168
MOST_ROWS = 50_000
MOST_SKETCHES = 400
"""Inputs x places whose distinct values are kept; with more of them, only everybody's are."""
FORMAT = 1


@dataclass(slots=True)
class InputState:
    """`hours`: event hour (Unix time // an hour) -> counts, shape (places, columns of the layout).

    `groups`: event hour -> for each place 64 bits, one for each group of entities that had a row. `values`: (hour,
    gauge, place) -> distinct values. `since`: check -> event time (ms) from which on it has been beyond its limit.
    `kept_h`: hours that the checks look at; `unreadable`: requests whose tensors are not what they say.
    `first_hour`: the first one that had a row; a whole day is judged only where there was one."""

    layout: Layout
    kept_h: int = DAY_H
    hours: dict[int, NDArray[np.uint32]] = field(default_factory=dict)
    groups: dict[int, NDArray[np.uint64]] = field(default_factory=dict)
    values: dict[tuple[int, int, int], Distinct] = field(default_factory=dict)
    since: dict[str, int] = field(default_factory=dict)
    unreadable: int = 0
    tick_ms: int | None = None
    first_hour: int | None = None

    def consume(self, rows: Sequence[InputRow], tick_ms: int) -> tuple[InputEvidence, ...]:
        """Count the inputs that are due at a tick, and judge: what is beyond its limit, and how each input is.

        `rows`: of event time before the tick, none of which an earlier tick had; in any order, also twice."""
        self.add(rows)
        return tuple(found.evidence for found in self.judge(tick_ms))

    def judge(self, tick_ms: int) -> tuple[Checked, ...]:
        """Close a tick: old hours go, and the checks are made."""
        self.tick_ms = tick_ms
        oldest = (tick_ms - 1) // HOUR_MS - self.kept_h
        self.hours = {hour: counts for hour, counts in self.hours.items() if hour > oldest}
        self.groups = {hour: bits for hour, bits in self.groups.items() if hour > oldest}
        recent = max(oldest, (tick_ms - 1) // HOUR_MS - DAY_H - 1)
        self.values = {key: seen for key, seen in self.values.items() if key[0] > recent}
        found = check(self.layout, Seen(self.hours, self.groups, self.values, self.first_hour), tick_ms, self.kept_h)
        beyond = {each.key: self.since.get(each.key, each.from_ms) for each in found if each.beyond}
        self.since = beyond
        return tuple(each.since(beyond.get(each.key)) for each in found)

    def add(self, rows: Sequence[InputRow]) -> None:
        """Count them; they are not judged yet."""
        once = unique(rows)
        readable = signed(once)
        self.unreadable += len(once) - len(readable)
        requests = [request for request, _ in readable]
        starts = np.cumsum([0, *(request.rows for request in requests)])[:-1].astype(np.int64)
        hour = np.array([event_ms_of(request.id) // HOUR_MS for request in requests], np.int64)
        whose = [request.entity or request.id.hex() for request in requests]
        group = np.array([entity_hash(each) & 63 for each in whose], np.uint64)
        for batch in batches(readable, starts, MOST_ROWS):
            of = np.searchsorted(starts, batch.at, side="right") - 1
            for at in np.unique(hour[of]).tolist():
                mine = np.flatnonzero(hour[of] == at)
                self._count(at, batch.take(mine), group[of[mine]])

    def merge(self, other: InputState) -> InputState:
        """As if one had seen both; of the same layout, not judged in between."""
        merged = InputState(self.layout, self.kept_h, since=dict(self.since), tick_ms=self.tick_ms)
        merged.unreadable = self.unreadable + other.unreadable
        for part in (self, other):
            merged._begin(part.first_hour)
            for hour, counts in part.hours.items():
                at = merged._hour(hour)
                merged.hours[at] = merged.hours[at] + counts
                merged.groups[at] = merged.groups[at] | part.groups[at]
            for key, seen in part.values.items():
                merged._see(key, seen)
        return merged

    def state(self) -> State:
        """Arrays, in an order that only the content gives."""
        hours, keys = sorted(self.hours), sorted(self.values)
        told = {
            "format": FORMAT,
            "layout": self.layout.digest,
            "kept_h": self.kept_h,
            "since": dict(sorted(self.since.items())),
            "unreadable": self.unreadable,
            "tick_ms": self.tick_ms,
            "first_hour": self.first_hour,
        }
        sizes = np.array([len(self.values[key].hashes) for key in keys], np.int64)
        return {
            "told": np.frombuffer(json.dumps(told).encode(), np.uint8),
            "hours": np.array(hours, np.int64),
            "counts": np.array([self.hours[hour] for hour in hours], np.uint32).reshape(-1, *self._shape),
            "groups": np.array([self.groups[hour] for hour in hours], np.uint64).reshape(-1, self._shape[0]),
            "keys": np.array(keys, np.int64).reshape(-1, 3),
            "sizes": sizes,
            "hashes": np.concatenate([np.zeros(0, np.uint64), *(self.values[key].hashes for key in keys)]),
            "rows": np.concatenate([np.zeros(0, np.int64), *(self.values[key].counts for key in keys)]),
        }

    @classmethod
    def of_state(cls, layout: Layout, arrays: State) -> InputState:
        """What `state` gave. Raises KeyError or ValueError when it is damaged, or of another layout."""
        told = json.loads(arrays["told"].astype(np.uint8).tobytes())
        if told["format"] != FORMAT or told["layout"] != layout.digest:
            raise ValueError("the state of the inputs is of another format, of other limits or of other packages")
        made = cls(layout, int(told["kept_h"]), since={str(key): int(at) for key, at in told["since"].items()})
        made.unreadable, made.tick_ms, made.first_hour = int(told["unreadable"]), told["tick_ms"], told["first_hour"]
        counts = arrays["counts"].astype(np.uint32).reshape(-1, *made._shape)
        groups = arrays["groups"].astype(np.uint64).reshape(-1, made._shape[0])
        for at, hour in enumerate(arrays["hours"].astype(np.int64).tolist()):
            made.hours[hour], made.groups[hour] = counts[at], groups[at]
        ends = np.cumsum(arrays["sizes"].astype(np.int64))[:-1]
        hashes, rows = (np.split(arrays[name], ends) for name in ("hashes", "rows"))
        for key, own, of in zip(arrays["keys"].tolist(), hashes, rows, strict=False):
            made.values[key[0], key[1], key[2]] = Distinct(own.astype(np.uint64), of.astype(np.int64))
        return made

    @property
    def _shape(self) -> tuple[int, int]:
        return len(self.layout.places), self.layout.width

    def _hour(self, hour: int) -> int:
        if hour not in self.hours:
            self.hours[hour] = np.zeros(self._shape, np.uint32)
            self.groups[hour] = np.zeros(self._shape[0], np.uint64)
        return hour

    def _begin(self, hour: int | None) -> None:
        if hour is not None:
            self.first_hour = hour if self.first_hour is None else min(self.first_hour, hour)

    def _see(self, key: tuple[int, int, int], seen: Distinct) -> None:
        known = self.values.get(key)
        self.values[key] = seen if known is None else known.merge(seen)

    def _count(self, hour: int, batch: Batch, group: NDArray[np.uint64]) -> None:
        """Rows of one hour. `group`: of each row's entity, shape (rows,)."""
        rows, layout = len(batch.at), self.layout
        self._hour(hour)
        self._begin(hour)
        places = layout.places_of(batch.raw, rows)
        for place in places:
            np.bitwise_or.at(self.groups[hour], place[place >= 0], np.uint64(1) << group[place >= 0])
        flat = np.zeros(self._shape[0] * self._shape[1], np.int64)
        for gauge in layout.gauges:
            for which, column in gauge.columns(batch.raw.get(gauge.name), rows):
                for place in places:
                    at = place[which]
                    here = at >= 0
                    np.add.at(flat, at[here] * self._shape[1] + column[here], 1)
        self.hours[hour] = self.hours[hour] + flat.reshape(self._shape).astype(np.uint32)
        self._values(hour, batch, places)

    def _values(self, hour: int, batch: Batch, places: list[Ints]) -> None:
        moving = [(at, gauge) for at, gauge in enumerate(self.layout.gauges) if gauge.stale_s is not None]
        sliced = len(moving) * len(self.layout.places) <= MOST_SKETCHES
        for at, gauge in moving:
            column = batch.raw.get(gauge.name)
            if column is None:
                continue
            present = gauge.present(column, len(batch.at))
            hashes = gauge.hashes(column[present])
            for place in places if sliced else places[:1]:
                there = place[present]
                for number in np.unique(there[there >= 0]).tolist():
                    self._see((hour, at, number), Distinct.of(hashes[there == number]))
