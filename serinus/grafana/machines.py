"""The serving side, and the controller with its logs."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from serinus.grafana.panels import board, model_variable, number, series

__all__ = ["control", "serving"]

OF = '{model=~"$model"}'


def _quantiles(metric: str, of: str, by: str, legend: str) -> list[tuple[str, str]]:
    return [
        (f"histogram_quantile({q}, sum by (le{by}) (rate({metric}_bucket{of}[5m])))", f"p{int(float(q) * 100)}{legend}")
        for q in ("0.5", "0.99")
    ]


def serving() -> Dashboard:
    """Rates, latency, heads, cache, shadow, what was lost."""
    return (
        board("serinus-serving", "Serinus / Serving", "Answers: how many, how fast, by whom, and what was lost.")
        .with_variable(model_variable(every=True))
        .with_panel(
            series(
                "Requests",
                "By arm.",
                [(f"sum by (model, arm) (rate(serinus_requests_total{OF}[5m]))", "{{model}} {{arm}}")],
                unit="reqps",
            )
        )
        .with_panel(
            series(
                "Not answered",
                "By what became of them.",
                [
                    (
                        'sum by (model, result) (rate(serinus_requests_total{model=~"$model", result!="ok"}[5m]))',
                        "{{model}} {{result}}",
                    )
                ],
                unit="reqps",
            )
        )
        .with_panel(
            series(
                "Latency",
                "Within the front door, by arm.",
                _quantiles("serinus_request_duration_seconds", OF, ", arm", " {{arm}}"),
                unit="s",
            )
        )
        .with_panel(
            series(
                "Heads",
                "Time of a head's run.",
                _quantiles("serinus_head_duration_seconds", OF, ", task", " {{task}}"),
                unit="s",
            )
        )
        .with_panel(
            series(
                "Fallbacks",
                "Rows a second that something else than the head answered.",
                [
                    (
                        f"sum by (task, arm, reason) (rate(serinus_head_fallbacks_total{OF}[5m]))",
                        "{{task}} {{arm}}: {{reason}}",
                    )
                ],
            )
        )
        .with_panel(
            series(
                "Why heads gave nothing",
                "Requests a second. An overrun is over its budget, a breaker is open after many of them.",
                [
                    (
                        f"sum by (task, arm, reason) (rate(serinus_head_failures_total{OF}[5m]))",
                        "{{task}} {{arm}}: {{reason}}",
                    )
                ],
            )
        )
        .with_panel(
            series(
                "Encoder cache",
                "Share of lookups that found something.",
                [
                    (
                        'sum(rate(serinus_encoder_cache_lookups_total{result="hit"}[5m])) '
                        "/ (sum(rate(serinus_encoder_cache_lookups_total[5m])) > 0)",
                        "hits",
                    )
                ],
                unit="percentunit",
            )
        )
        .with_panel(
            series(
                "Rows by version",
                "Who scored them.",
                [(f"sum by (arm, version) (rate(serinus_rows_total{OF}[5m]))", "{{arm}} {{version}}")],
            )
        )
        .with_panel(
            series(
                "Shadow",
                "Copies by what became of them.",
                [(f"sum by (result) (rate(serinus_shadow_rows_total{OF}[5m]))", "{{result}}")],
            )
        )
        .with_panel(
            series(
                "Recorded and lost",
                "Rows a second given to the log, and those that it could not take.",
                [
                    (f"sum(rate(serinus_recorded_rows_total{OF}[5m]))", "recorded"),
                    (f"sum by (reason) (rate(serinus_lost_rows_total{OF}[5m]))", "lost: {{reason}}"),
                ],
            )
        )
        .with_panel(
            series(
                "Waiting",
                "Requests and copies in memory.",
                [("sum(serinus_requests_in_flight)", "requests"), ("sum(serinus_shadow_queue_rows)", "copies")],
            )
        )
        .with_panel(
            series(
                "Spool",
                "Bytes of rows that wait for the disk.",
                [("sum(serinus_spool_waiting_bytes)", "waiting")],
                unit="bytes",
            )
        )
        .with_panel(
            series(
                "Labels", "Labels a second.", [(f"sum by (result) (rate(serinus_labels_total{OF}[5m]))", "{{result}}")]
            )
        )
    )


def control() -> Dashboard:
    """The controller, its replicas, the monitor and the logs."""
    return (
        board(
            "serinus-control",
            "Serinus / Controller and logs",
            "Who acts, how long decisions take, how far the monitor is.",
        )
        .with_panel(
            number(
                "Acting", "Controllers that hold the lease: must be 1.", "sum(serinus_active_controller) or vector(0)"
            )
        )
        .with_panel(number("Database", "1 while it answers.", "min(serinus_database_up)"))
        .with_panel(
            number(
                "Behind",
                "Live replicas without the newest route table.",
                "max(sum by (instance) (serinus_replicas_behind)) or vector(0)",
                bad_from=1,
            )
        )
        .with_panel(
            number(
                "Monitor behind",
                "Event time that no look has reached yet.",
                "max(serinus_monitor_lag_seconds) or vector(0)",
                unit="s",
            )
        )
        .with_panel(
            number(
                "Failed turns",
                "Of the reconciler, in an hour.",
                "sum(increase(serinus_reconcile_errors_total[1h])) or vector(0)",
                bad_from=1,
            )
        )
        .with_panel(
            number(
                "Notices that wait", "Nobody has got them yet.", "max(serinus_notices_pending) or vector(0)", bad_from=1
            )
        )
        .with_panel(
            series(
                "Replicas",
                "By pool, role and state.",
                [("max by (pool, role, state) (serinus_replicas)", "{{pool}} {{role}} {{state}}")],
            )
        )
        .with_panel(
            series(
                "From evidence to decision",
                "How long evidence was there before a move rested on it.",
                _quantiles("serinus_rollout_decision_seconds", "", "", ""),
                unit="s",
            )
        )
        .with_panel(
            series(
                "Turns of the reconciler",
                "How long they take.",
                _quantiles("serinus_reconcile_duration_seconds", "", "", ""),
                unit="s",
            )
        )
        .with_panel(
            series(
                "API",
                "Requests a second by answer.",
                [("sum by (code) (rate(serinus_api_requests_total[5m]))", "{{code}}")],
                unit="reqps",
            )
        )
        .with_panel(
            series(
                "API latency",
                "Long polls are left out.",
                _quantiles("serinus_api_request_duration_seconds", "", "", ""),
                unit="s",
            )
        )
        .with_panel(
            series(
                "Looks",
                "A look: how long, and how many a second.",
                [
                    *_quantiles("serinus_monitor_look_duration_seconds", "", ", model", " {{model}}"),
                    ("sum by (model) (rate(serinus_monitor_looks_total[5m]))", "looks/s {{model}}"),
                ],
            )
        )
        .with_panel(
            series(
                "Answers taken up",
                "A second, once for each task.",
                [("sum by (model) (rate(serinus_monitor_rows_total[5m]))", "{{model}}")],
            )
        )
        .with_panel(
            series(
                "Failed looks",
                "Of each model, in 15 minutes.",
                [("sum by (model) (increase(serinus_monitor_errors_total[15m]))", "{{model}}")],
            )
        )
        .with_panel(series("Jobs", "By state.", [("max by (kind, state) (serinus_jobs)", "{{kind}} {{state}}")]))
    )
