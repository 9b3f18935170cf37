"""An accumulation as arrays and back, in an order that only its content gives."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import numpy as np

from monitors.accumulation import Accumulation, FrameKey, RateKey, Waits, slow_of
from monitors.accumulators import Cell, State
from monitors.bins import BINS_OVERALL, Bins, Frame
from monitors.layouts import Place, layouts
from monitors.rates import FailureCounts
from monitors.rows import Exposed, Scored
from serinus.evidence import WorkItem

_SCORED = ("event_ms", "entity", "y", "p", "slices", "loss")


class Header(msgspec.Struct, frozen=True):
    """What is not an array: keys in the order of their arrays, and counts."""

    cells: list[Place]
    rates: list[RateKey]
    frames: list[FrameKey]
    waiting: list[Waits]
    pending: list[str]
    counts: dict[str, int]
    recent: dict[str, int]
    corrupt: list[str]
    first_event_ms: int | None


def state_of(whole: Accumulation) -> State:
    """Everything: arrays, one of them a JSON header."""
    header = Header(
        cells=sorted(whole.cells),
        rates=sorted(whole.rates),
        frames=sorted(whole.bins),
        waiting=sorted(whole.waiting),
        pending=sorted(whole.pending),
        counts=dict(sorted(whole.counts.items())),
        recent=dict(sorted(whole.recent.items())),
        corrupt=sorted(whole.corrupt),
        first_event_ms=whole.first_event_ms,
    )
    arrays: State = {"header": np.frombuffer(msgspec.json.encode(header), np.uint8)}
    for at, place in enumerate(header.cells):
        arrays |= {f"cell/{at}/{name}": array for name, array in whole.cells[place].state().items()}
    for at, key in enumerate(header.rates):
        counts = whole.rates[key]
        arrays[f"rates/{at}/segments"] = counts.segments
        arrays[f"rates/{at}/totals"] = np.stack([counts.exposure, counts.failures])
    for at, frozen in enumerate(header.frames):
        frame = whole.bins[frozen]
        arrays[f"frame/{at}/edges"] = np.stack([frame.a.edges, frame.b.edges])
        arrays[f"frame/{at}/units"] = np.array([frame.unit, frame.spread])
    slices = len(whole.item.sla.slices)
    for at, waits in enumerate(header.waiting):
        for side, parts in enumerate(whole.waiting[waits]):
            rows = _ordered(Scored.concat(parts, slices))
            arrays |= {f"waiting/{at}/{side}/{name}": getattr(rows, name) for name in _SCORED}
    for at, task in enumerate(header.pending):
        arrays |= {f"pending/{at}/{name}": array for name, array in _exposed(whole.pending[task]).items()}
    return arrays


def of_state(item: WorkItem, arrays: State, *, replay: bool = False) -> Accumulation:
    """The accumulation whose `state_of` it is. Raises KeyError or ValueError when it is damaged or of another plan."""
    header = msgspec.json.decode(arrays["header"].tobytes(), type=Header)
    made, slices, sizes = Accumulation(item, replay), len(item.sla.slices), layouts(item, replay=replay)
    if set(header.cells) != set(made.cells) or set(header.rates) != set(made.rates):
        raise ValueError("the state has other cells than this SLA")
    for at, place in enumerate(header.cells):
        made.cells[place] = Cell.of_state(under(arrays, f"cell/{at}/"), sizes[place])
    for at, key in enumerate(header.rates):
        totals = arrays[f"rates/{at}/totals"].astype(np.float64).reshape(2, 2)
        segments = arrays[f"rates/{at}/segments"].astype(np.float64).reshape(-1, 3)
        made.rates[key] = FailureCounts(segments, totals[0], totals[1])
    for at, frozen in enumerate(header.frames):
        edges = arrays[f"frame/{at}/edges"].astype(np.float64).reshape(2, BINS_OVERALL - 1)
        unit, spread = arrays[f"frame/{at}/units"].astype(np.float64)
        made.bins[frozen] = Frame(Bins(edges[0]), Bins(edges[1]), float(unit), float(spread))
    for at, waits in enumerate(header.waiting):
        sides = [_scored_of(under(arrays, f"waiting/{at}/{side}/"), slices) for side in (0, 1)]
        made.waiting[waits] = ([sides[0]], [sides[1]])
    for at, task in enumerate(header.pending):
        made.pending[task] = [_exposed_of(under(arrays, f"pending/{at}/"), slices)]
    made.counts, made.recent, made.corrupt = Counter(header.counts), Counter(header.recent), set(header.corrupt)
    made.first_event_ms = header.first_event_ms
    return made


def under(arrays: State, prefix: str) -> State:
    """The arrays whose names begin so, without that beginning."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _ordered(rows: Scored) -> Scored:
    loss = (rows.loss,) if len(rows.loss) else ()
    return rows.take(np.lexsort((*rows.slices.T, *loss, rows.p, rows.y, rows.entity, rows.event_ms)))


def _exposed(parts: list[Exposed]) -> State:
    columns: State = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("entity", "minute", "canary", "failed")
    }
    columns |= {"slow": np.concatenate([slow_of(part) for part in parts])}
    columns |= {"slices": np.concatenate([part.slices for part in parts])}
    order = np.lexsort(
        (*columns["slices"].T, *(columns[name] for name in ("slow", "failed", "canary", "minute", "entity")))
    )
    return {name: values[order] for name, values in columns.items()}


def _scored_of(columns: State, slices: int) -> Scored:
    return Scored(
        columns["event_ms"].astype(np.int64),
        columns["entity"].astype(np.uint64),
        columns["y"].astype(np.float64),
        columns["p"].astype(np.float64),
        columns["slices"].astype(np.int64).reshape(len(columns["entity"]), slices),
        columns["loss"].astype(np.float64),
    )


def _exposed_of(columns: State, slices: int) -> Exposed:
    found: dict[str, Any] = {
        "entity": columns["entity"].astype(np.uint64),
        "minute": columns["minute"].astype(np.int64),
        "canary": columns["canary"].astype(np.bool_),
        "failed": columns["failed"].astype(np.bool_),
        "slow": columns["slow"].astype(np.bool_),
        "slices": columns["slices"].astype(np.int64).reshape(len(columns["entity"]), slices),
    }
    return Exposed(**found)
