"""One HTML page about the rollouts: what each guard's evidence said over event time, and what was decided when."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import matplotlib as mpl

from serinus.evidence import CellEvidence, Evidence
from serinus.rollouts import Phase, RolloutView

mpl.use("Agg")
import matplotlib.dates as mdates
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["write_report"]

INK, BAND, LIMIT, PHASE = "#1f4e79", "#9dc3e6", "#c00000", "#7f7f7f"
UNIT = {
    "auc": "AUC lost",
    "calibration": "|log r| gained",
    "log_loss": "log-loss, relative excess",
    "failures": "log rate ratio",
}
STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;font-size:.85rem;margin:1rem 0;display:block;overflow-x:auto}
td,th{padding:.25rem .6rem;border-bottom:1px solid #ddd;text-align:right;white-space:nowrap}
td:first-child,th:first-child{text-align:left}img{max-width:100%}.violated{color:#c00000;font-weight:600}
.why{text-align:left;white-space:normal}.satisfied{color:#2e7d32}.inconclusive{color:#7f7f7f}pre{background:#f6f6f6;padding:1rem;overflow-x:auto}"""


DAY_MS = 86_400_000


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _day(ms: int) -> float:
    """Days since 1970, which is how matplotlib counts dates."""
    return ms / DAY_MS


def _dates(axes: Axes) -> None:
    axes.xaxis.set_major_locator(mdates.AutoDateLocator(minticks=3, maxticks=5, interval_multiples=False))  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(mdates.DateFormatter("%d %b"))  # type: ignore[no-untyped-call]
    axes.tick_params(labelsize=8)


def _phases(axes: Axes, rollout: RolloutView, names: bool) -> None:
    for move in rollout.history:
        if move.event_ms is None or move.event_ms == 0:
            continue
        axes.axvline(_day(move.event_ms), color=PHASE, lw=0.7, ls=":")
        if names and move.to != Phase.LOADING:  # takes no event time: its name would lie on the next one's
            axes.annotate(
                move.to.value,
                (_day(move.event_ms), 0.03),
                xycoords=("data", "axes fraction"),
                rotation=90,
                fontsize=8,
                va="bottom",
                ha="right",
                color=PHASE,
            )


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    return f'<img alt="plot" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def _e_plot(rollout: RolloutView, looks: Sequence[Evidence]) -> str:
    figure, axes = plt.subplots(figsize=(11, 3))
    axes.plot([_day(look.tick_ms) for look in looks], [max(look.e, 1e-3) for look in looks], color=INK)
    axes.axhline(looks[-1].limit, color=LIMIT, lw=1, label=f"roll back at {looks[-1].limit:g}")
    axes.set_yscale("log")
    axes.set_ylabel("E over all cells")
    axes.legend(loc="lower right", fontsize=8, frameon=False)
    _phases(axes, rollout, names=True)
    _dates(axes)
    return _png(figure)


def _cell_plot(axes: Axes, rollout: RolloutView, cells: Sequence[tuple[int, CellEvidence]]) -> None:
    seen = [(ms, c) for ms, c in cells if c.estimate is not None and c.low is not None and c.high is not None]
    last = cells[-1][1]
    axes.set_title(f"{last.name}\n{last.verdict}, {last.positives:,} positives", fontsize=8)
    axes.axhline(last.margin, color=LIMIT, lw=1)
    axes.axhline(0, color="#cccccc", lw=0.7)
    _phases(axes, rollout, names=False)
    _dates(axes)
    if not seen:
        axes.text(0.5, 0.5, last.why or "no labels yet", transform=axes.transAxes, ha="center", fontsize=7, wrap=True)
        return
    when = [_day(ms) for ms, _ in seen]
    axes.fill_between(when, [c.low or 0 for _, c in seen], [c.high or 0 for _, c in seen], color=BAND, alpha=0.6, lw=0)
    axes.plot(when, [c.estimate or 0 for _, c in seen], color=INK, lw=1.2)
    final = seen[-1][1]
    reach = 4 * max(last.margin, abs(final.estimate or 0), 0.002)
    axes.set_ylim(-reach, reach)
    axes.set_ylabel(UNIT[last.metric], fontsize=7)


def _cells_plot(rollout: RolloutView, looks: Sequence[Evidence]) -> str:
    history: dict[tuple[str, str], list[tuple[int, CellEvidence]]] = {}
    for look in looks:
        for cell in look.cells:
            history.setdefault((cell.stream, cell.name), []).append((look.tick_ms, cell))
    deciding = [
        cells for (stream, _), cells in history.items() if stream == "shadow" and cells[-1][1].role != "display"
    ]
    columns = 4
    rows = -(-len(deciding) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(13, 2.4 * rows), squeeze=False)
    for axes, cells in zip(grid.flat, deciding, strict=False):
        _cell_plot(axes, rollout, cells)
    for axes in list(grid.flat)[len(deciding) :]:
        axes.axis("off")
    figure.tight_layout()
    return _png(figure)


def _number(value: float | None, digits: int = 4) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _table(look: Evidence) -> str:
    head = "stream,task,slice,metric,role,estimate,interval,margin,e violated,e satisfied,labels,positives,verdict,why"
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td>{html.escape(text)}</td>"
            for text in (
                cell.stream,
                cell.task,
                cell.slice,
                cell.metric,
                cell.role,
                _number(cell.estimate),
                f"{_number(cell.low)} … {_number(cell.high)}" if cell.low is not None else "",
                _number(cell.margin),
                f"{cell.e_violated:.3g}",
                f"{cell.e_satisfied:.3g}",
                f"{cell.labels:,}",
                f"{cell.positives:,}",
            )
        )
        + f'<td class="{cell.verdict}">{cell.verdict}</td><td>{html.escape(cell.why)}</td></tr>'
        for cell in look.cells
    )
    return f"<table><tr>{''.join(f'<th>{name}</th>' for name in head.split(','))}</tr>{rows}</table>"


def _moves(rollout: RolloutView) -> str:
    return "".join(
        f"<tr><td>{f'{_time(m.event_ms):%d %b %Y %H:%M}' if m.event_ms else '-'}</td>"
        f"<td>{m.start.value} → {m.to.value}</td><td class='why'>{html.escape(m.why)}</td>"
        f"<td>{html.escape(m.actor)}</td></tr>"
        for m in rollout.history
    )


def write_report(path: Path, timeline: str, rollouts: Sequence[tuple[RolloutView, Sequence[Evidence]]]) -> None:
    """Write the page to `path`: the timeline as text, then each rollout with its moves, evidence and last look."""
    sections = []
    for rollout, looks in rollouts:
        title = f"Version {rollout.candidate} against {rollout.baseline}: {rollout.phase.value}"
        parts = [f"<h2>{title}</h2><table><tr><th>event time (UTC)</th><th>move</th><th>why</th><th>who</th></tr>"]
        parts.append(f"{_moves(rollout)}</table>")
        if looks:
            parts += [
                "<h3>E, the evidence over all cells</h3>",
                _e_plot(rollout, looks),
                "<h3>Each deciding guard: estimate, always-valid interval, margin (red)</h3>",
                _cells_plot(rollout, looks),
                f"<h3>The last look, {_time(looks[-1].tick_ms):%d %b %Y %H:%M} UTC</h3>",
                _table(looks[-1]),
            ]
        sections.append("".join(parts))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Two rollouts on real flights</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f"<h1>Two rollouts on real flights</h1><pre>{html.escape(timeline)}</pre>{''.join(sections)}</html>"
    )
