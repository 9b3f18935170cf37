"""The few kinds of panels that our dashboards are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from serinus.metrics import VERDICT_CODES

__all__ = ["VERDICTS", "board", "model_variable", "number", "numbers", "series", "timeline", "worst_first"]

WITH_EXAMPLES = "serinus_request_duration_seconds"
"""The histogram whose buckets name a request."""
SOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
COLORS = {"satisfied": "green", "inconclusive": "blue", "error": "orange", "violated": "red"}
VERDICTS: list[dashboard.ValueMapping] = [
    dashboard.ValueMap(
        options={
            str(code): dashboard.ValueMappingResult(text=word, color=COLORS[word], index=code)
            for word, code in VERDICT_CODES.items()
        }
    )
]
Query = tuple[str, str]
"""PromQL, legend."""


def board(uid: str, title: str, about: str, *, since: str = "now-6h") -> builders.Dashboard:
    """An empty dashboard with the data source to choose."""
    source = builders.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    return (
        builders.Dashboard(title)
        .uid(uid)
        .description(about)
        .tags(["serinus"])
        .refresh("30s")
        .time(since, "now")
        .timezone("browser")
        .readonly()
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .with_variable(source)
        .link(
            builders.DashboardLink("Serinus")
            .type(dashboard.DashboardLinkType.DASHBOARDS)
            .tags(["serinus"])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
    )


def model_variable(*, every: bool = False) -> builders.QueryVariable:
    """`$model`: of those that the controller knows."""
    made = (
        builders.QueryVariable("model")
        .label("Model")
        .datasource(SOURCE)
        .query({"query": "label_values(serinus_model_version, model)", "refId": "model"})
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
    )
    return made.include_all(True).multi(True) if every else made


def series(
    title: str, about: str, queries: Sequence[Query], *, unit: str = "short", width: int = 12, dashes: str = ""
) -> timeseries.Panel:
    """Lines over time. `dashes`: a regular expression of the names whose lines are limits, drawn red and dashed."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .span(width)
        .height(8)
        .line_width(1)
        .fill_opacity(5)
        .show_points(common.VisibilityMode.NEVER)
        .legend(
            common_builders.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )
    for at, (expr, legend) in enumerate(queries):
        panel = panel.with_target(_query(expr, legend, at))
    if dashes:
        style: list[Any] = [
            dashboard.DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [6, 6]}),
            dashboard.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": "red"}),
        ]
        panel = panel.override_by_regexp(dashes, style)
    return panel


def number(title: str, about: str, expr: str, *, unit: str = "short", bad_from: float | None = None) -> stat.Panel:
    """One number now. `bad_from`: from this value on it is red."""
    steps = [dashboard.Threshold(color="green", value=None)]
    if bad_from is not None:
        steps.append(dashboard.Threshold(color="red", value=bad_from))
    return (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .span(4)
        .height(4)
        .thresholds(builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps))
        .with_target(_query(expr, "", 0, instant=True))
    )


def numbers(title: str, about: str, queries: Sequence[Query], *, width: int = 24, height: int = 9) -> table.Panel:
    """A table of what is now: a row for each set of labels, a column for each query."""
    panel = table.Panel().title(title).description(about).datasource(SOURCE).span(width).height(height).no_value("none")
    for at, (expr, _) in enumerate(queries):
        panel = panel.with_target(_query(expr, "", at, instant=True))
    names = {f"Value #{chr(ord('A') + at)}": name for at, (_, name) in enumerate(queries)}
    if len(queries) == 1:
        names["Value"] = queries[0][1]
    hidden = dict.fromkeys(("Time", "__name__", "instance", "job"), True)
    panel = panel.with_transformation(dashboard.DataTransformerConfig(id_val="merge", options={}))
    return panel.with_transformation(
        dashboard.DataTransformerConfig(id_val="organize", options={"excludeByName": hidden, "renameByName": names})
    )


def worst_first(panel: table.Panel, column: str) -> table.Panel:
    """Colour a column of verdicts and sort by it."""
    style: list[Any] = [
        dashboard.DynamicConfigValue(id_val="mappings", value=VERDICTS),
        dashboard.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-background"}),
    ]
    order = common_builders.TableSortByFieldState().display_name(column).desc(True)
    return panel.override_by_name(column, style).sort_by([order])


def timeline(title: str, about: str, queries: Sequence[Query], *, mapped: bool = True) -> statetimeline.Panel:
    """A bar a series that changes its colour with its state. `mapped`: values are codes of verdicts."""
    panel = statetimeline.Panel().title(title).description(about).datasource(SOURCE).span(24).height(10)
    if mapped:
        panel = panel.mappings(VERDICTS)
    for at, (expr, legend) in enumerate(queries):
        panel = panel.with_target(_query(expr, legend, at))
    return panel


def _query(expr: str, legend: str, at: int, *, instant: bool = False) -> prometheus.Dataquery:
    made = prometheus.Dataquery().expr(expr).ref_id(chr(ord("A") + at)).datasource(SOURCE)
    if legend:
        made = made.legend_format(legend)
    if instant:
        return made.instant().format(PromQueryFormat.TABLE)
    return made.range().exemplar(WITH_EXAMPLES in expr)
