"""Which cells a rollout has, and how large their tables may be: at most `BUDGET` bytes together, whatever comes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from monitors.accumulators import Layout
from monitors.bins import BINS_OVERALL, BINS_SLICE
from monitors.groupings import COLUMNS, LOSS, SQ, N, P, Y
from monitors.restarts import boundaries_of
from monitors.shares import RATES, Share, shares_of
from serinus.evidence import Stream, WorkItem
from serinus.guards import EARLY, HOLDING, Metric, Role

Source = Literal["mature", "early", "unlabelled"]
"""When a row enters: with its mature label, with what is known early, or at once without any."""
Place = tuple[Stream, str, str, Source]
"""Stream, task, slice, source. Metrics of one place read one cell."""

BUDGET = 416 << 20
FEWER_BINS = (32, 16)
MOST_BLOCKS = 112
"""Blocks of all widths together that a cell holds at a time: of 90 hours, 15 of 6 hours, 4 days, and the like."""
_UNLABELLED: frozenset[Metric] = HOLDING | {"psi", "js"}
_RANKED: frozenset[Metric] = frozenset({"auc", "early_auc"})
_BINNED: frozenset[Metric] = frozenset({"auc", "early_auc", "ece", "pr_auc", "psi", "js"})
_LAST_COLUMN: dict[Metric, int] = {
    "psi": N,
    "js": N,
    "calibration": P,
    "early_ratio": P,
    "shift": P,
    "log_loss": LOSS,
    "loss": LOSS,
    "bias": LOSS,
    "agreement": SQ,
}


def source_of(metric: Metric) -> Source:
    return "early" if metric in EARLY else "unlabelled" if metric in _UNLABELLED else "mature"


def place_of(share: Share) -> Place:
    return (share.stream, share.spec.task, share.spec.slice, source_of(share.spec.metric))


def layouts(item: WorkItem, *, replay: bool = False) -> dict[Place, Layout]:
    """The cells of a rollout, fixed before the first row. Where the budget is short, groups of cells that no promotion
    waits for have fewer bins (a coarser variance, the same estimate), then all groups."""
    boundaries = () if replay else boundaries_of(item)
    metrics: dict[Place, set[Metric]] = {}
    roles: dict[Place, set[Role]] = {}
    for share in shares_of(item, replay=replay):
        if share.spec.metric not in RATES:
            metrics.setdefault(place_of(share), set()).add(share.spec.metric)
            roles.setdefault(place_of(share), set()).add("optional" if share.spec.dry_run else share.role)
    found = {
        place: _layout(place, mine, boundaries if roles[place] - {"display"} else ()) for place, mine in metrics.items()
    }
    needed = {place for place, mine in roles.items() if "required" in mine}
    for spared in (needed, set[Place]()):
        for bins in FEWER_BINS:
            if size_of(found) > BUDGET:
                found = {
                    place: layout if place in spared or not layout.bins else replace(layout, bins=bins)
                    for place, layout in found.items()
                }
    return found


def size_of(found: Mapping[Place, Layout]) -> int:
    """Bytes that the cells hold at most."""
    return sum(bytes_of(layout) for layout in found.values())


def bytes_of(layout: Layout) -> int:
    """Bytes of one cell's tables when all its restarts have begun."""
    segments = len(layout.boundaries) + 1
    by_user = layout.users * (16 * layout.bins + 16 * layout.columns)
    by_time = MOST_BLOCKS * (16 * layout.bins + 16 * layout.columns)
    return segments * (by_user + 16 * layout.pooled) + by_time


def _layout(place: Place, metrics: set[Metric], boundaries: tuple[int, ...]) -> Layout:
    whole = Layout.of(overall=place[2] == "overall")
    pooled = BINS_OVERALL if place[2] == "overall" else BINS_SLICE
    return replace(
        whole,
        columns=min(COLUMNS, 1 + max(_LAST_COLUMN.get(metric, Y) for metric in metrics)),
        bins=whole.bins if metrics & _RANKED else 0,
        pooled=pooled if metrics & _BINNED else 0,
        curve="ece" in metrics,
        boundaries=boundaries,
    )


def needs_bins(layout: Layout) -> bool:
    return layout.pooled > 0
