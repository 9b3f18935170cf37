"""What happened: the phases of a model's rollouts, with a mark at each transition."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.models import dashboard

from serinus.grafana.panels import board, model_variable, numbers, series, timeline

__all__ = ["TAG", "happened"]

TAG = "serinus-transition"
"""What `serinus grafana sync` tags its annotations with."""
OF = '{model="$model"}'


def happened() -> Dashboard:
    """Marks come from Grafana's own store, into which `serinus grafana sync` writes them."""
    marks = (
        builders.AnnotationQuery()
        .name("Transitions")
        .datasource(dashboard.DataSourceRef(type_val="grafana", uid="-- Grafana --"))
        .enable(True)
        .icon_color("orange")
        .type("tags")
        .target(builders.AnnotationTarget().limit(200).match_any(False).tags([TAG, "model:$model"]).type("tags"))
    )
    return (
        board(
            "serinus-happened",
            "Serinus / What happened",
            "After the fact: when what was decided, and what traffic did.",
            since="now-7d",
        )
        .with_variable(model_variable())
        .annotation(marks)
        .with_panel(
            timeline(
                "Phases",
                "There while the rollout was in it.",
                [(f"max by (phase) (serinus_rollout_phase{OF}) == 1", "{{phase}}")],
                mapped=False,
            )
        )
        .with_panel(
            series(
                "Share of the candidate",
                "Canary and shadow.",
                [
                    (f"max(serinus_rollout_canary_ratio{OF})", "canary"),
                    (f"max(serinus_rollout_shadow_ratio{OF})", "shadow"),
                ],
                unit="percentunit",
            )
        )
        .with_panel(
            series(
                "Evidence",
                "ln E and its threshold.",
                [
                    (f"max(serinus_rollout_log_e_value{OF})", "ln E"),
                    (f"max(serinus_rollout_log_e_threshold{OF})", "threshold"),
                ],
                dashes="threshold",
            )
        )
        .with_panel(
            series("Versions in force", "By alias.", [(f"max by (alias) (serinus_model_version{OF})", "{{alias}}")])
        )
        .with_panel(
            series(
                "Answers by version",
                "Rows a second.",
                [(f"sum by (arm, version) (rate(serinus_rows_total{OF}[5m]))", "{{arm}} {{version}}")],
            )
        )
        .with_panel(
            numbers(
                "Ends",
                "How often rollouts ended how.",
                [(f"max by (result) (serinus_rollouts_ended_total{OF})", "times")],
                width=12,
            )
        )
        .with_panel(
            numbers(
                "This rollout",
                "Its candidate and its baseline.",
                [(f"max by (rollout, candidate, baseline) (serinus_rollout_info{OF})", "there")],
                width=12,
            )
        )
    )
