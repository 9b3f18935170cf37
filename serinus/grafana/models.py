"""A model's health, and its rollout as it happens."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from serinus.grafana.panels import board, model_variable, number, numbers, series, timeline, worst_first

__all__ = ["health", "rollout"]

OF = '{model="$model"}'
GUARD = "model, stream, task, slice, metric"
NAME = "{{task}} / {{slice}} / {{metric}} ({{stream}})"


def health() -> Dashboard:
    """Tasks x slices as a heat map, over time and now."""
    verdict = f"max by (task, slice) (serinus_guard_verdict{OF})"
    return (
        board(
            "serinus-model",
            "Serinus / Model health",
            "One model: each task and slice, stable's own findings, labels.",
            since="now-7d",
        )
        .with_variable(model_variable())
        .with_panel(
            timeline(
                "Tasks x slices",
                "The worst verdict of each task and slice of the last rollout.",
                [(verdict, "{{task}} / {{slice}}")],
            )
        )
        .with_panel(
            numbers(
                "Findings on stable",
                "What is wrong with the stable version, its inputs, its labels or its logs now.",
                [(f"max by (task, slice, check) (serinus_health_finding{OF})", "found")],
                width=12,
            )
        )
        .with_panel(
            series(
                "Labels complete up to",
                "How long ago, in event time, the labels of each task end. A line that rises with the clock: silence.",
                [(f"time() - max by (task) (serinus_labels_complete_timestamp_seconds{OF})", "{{task}}")],
                unit="s",
            )
        )
        .with_panel(
            series(
                "Fallbacks",
                "Share of rows that something else than the head answered.",
                [
                    (
                        f"sum by (task, reason) (rate(serinus_head_fallbacks_total{OF}[5m])) / on () group_left () "
                        f"(sum(rate(serinus_rows_total{OF}[5m])) > 0)",
                        "{{task}}: {{reason}}",
                    )
                ],
                unit="percentunit",
            )
        )
        .with_panel(
            series(
                "Late labels",
                "Labels a second that came after their window.",
                [(f"sum by (task) (rate(serinus_monitor_late_labels_total{OF}[15m]))", "{{task}}")],
            )
        )
    )


def rollout() -> Dashboard:
    """Each guard's interval against its margin, the whole evidence against its threshold."""
    parts = [
        (f"max by ({GUARD}) (serinus_guard_verdict{OF})", "verdict"),
        (f"max by ({GUARD}) (serinus_guard_estimate{OF})", "estimate"),
        (f"max by ({GUARD}) (serinus_guard_interval_low{OF})", "low"),
        (f"max by ({GUARD}) (serinus_guard_interval_high{OF})", "high"),
        (f"max by ({GUARD}) (serinus_guard_margin{OF})", "margin"),
        (f"max by ({GUARD}) (serinus_guard_log_e_value{OF})", "ln e"),
        (f"max by ({GUARD}) (serinus_guard_labels_used{OF})", "labels"),
        (f"max by ({GUARD}) (serinus_guard_labels_missing{OF})", "still missing"),
    ]
    made = (
        board(
            "serinus-rollout",
            "Serinus / Rollout",
            "The rollout that goes on or ended last, guard by guard.",
            since="now-24h",
        )
        .with_variable(model_variable())
        .with_panel(
            number(
                "Canary",
                "Share of the entities that the candidate answers.",
                f"max(serinus_rollout_canary_ratio{OF})",
                unit="percentunit",
            )
        )
        .with_panel(
            number(
                "Shadow",
                "Share of the requests that the shadow scores.",
                f"max(serinus_rollout_shadow_ratio{OF})",
                unit="percentunit",
            )
        )
        .with_panel(
            number(
                "ln E",
                "All evidence against it; at the threshold it is rolled back.",
                f"max(serinus_rollout_log_e_value{OF})",
            )
        )
        .with_panel(number("Threshold", "ln(1 / alpha).", f"max(serinus_rollout_log_e_threshold{OF})"))
        .with_panel(
            number("Held", "1 while the evidence stops the ramp.", f"max(serinus_rollout_held{OF})", bad_from=1)
        )
        .with_panel(
            number(
                "Evidence is",
                "Seconds since the last evidence came.",
                f"time() - max(serinus_evidence_timestamp_seconds{OF})",
                unit="s",
            )
        )
        .with_panel(
            worst_first(
                numbers(
                    "Guards",
                    "Baseline against candidate in each metric's own unit: bad where it is above the margin.",
                    parts,
                    height=12,
                ),
                "verdict",
            )
        )
        .with_panel(
            series(
                "Evidence of the whole rollout",
                "The natural logarithm of E and of the threshold at which it rolls back.",
                [
                    (f"max(serinus_rollout_log_e_value{OF})", "ln E"),
                    (f"max(serinus_rollout_log_e_threshold{OF})", "threshold"),
                ],
                width=24,
                dashes="threshold",
            )
        )
    )
    for stream in ("shadow", "canary"):
        of = f'{{model="$model", stream="{stream}"}}'
        made = made.with_panel(
            series(
                f"{stream.capitalize()}: least loss that is sure, less the margin",
                "The interval's lower end less the margin: a guard above 0 is violated.",
                [
                    (
                        f"max by ({GUARD}) (serinus_guard_interval_low{of}) "
                        f"- max by ({GUARD}) (serinus_guard_margin{of})",
                        "{{task}} / {{slice}} / {{metric}}",
                    )
                ],
            )
        )
    return made.with_panel(
        series(
            "Share of the candidate",
            "Canary and shadow over time.",
            [
                (f"max(serinus_rollout_canary_ratio{OF})", "canary"),
                (f"max(serinus_rollout_shadow_ratio{OF})", "shadow"),
            ],
            unit="percentunit",
        )
    ).with_panel(
        series(
            "Labels in the evidence",
            "Mature labels of each guard.",
            [(f"max by ({GUARD}) (serinus_guard_labels_used{OF})", NAME)],
        )
    )
