"""Fleet overview: which rollouts go on, what is violated, what is wrong anywhere."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from serinus.grafana.panels import board, number, numbers, series, timeline, worst_first

__all__ = ["fleet"]

NOT_ENDED = 'phase!~"queued|done|rolled_back|aborted|superseded"'


def fleet() -> Dashboard:
    """One screen for all models."""
    return (
        board("serinus-fleet", "Serinus / Fleet", "All models at once: what goes on, and what needs a person.")
        .with_panel(
            number(
                "Models",
                "Models with a stable version.",
                'count(max by (model) (serinus_model_version{alias="stable"}))',
            )
        )
        .with_panel(
            number(
                "Rollouts",
                "Rollouts that go on.",
                f"sum(max by (model, phase) (serinus_rollout_phase{{{NOT_ENDED}}})) or vector(0)",
            )
        )
        .with_panel(
            number(
                "Violated guards",
                "Guards of rollouts that go on whose margin is exceeded.",
                f"count(max by (model, stream, task, slice, metric) (serinus_guard_verdict) == 3 and on (model) "
                f"(max by (model) (serinus_rollout_phase{{{NOT_ENDED}}}) == 1)) or vector(0)",
                bad_from=1,
            )
        )
        .with_panel(
            number(
                "Held",
                "Rollouts whose ramp the evidence stops.",
                "sum(max by (model) (serinus_rollout_held)) or vector(0)",
                bad_from=1,
            )
        )
        .with_panel(
            number(
                "Acting controllers",
                "Must be 1.",
                "sum(serinus_active_controller) or vector(0)",
            )
        )
        .with_panel(
            number(
                "Notices that wait", "Nobody has got them yet.", "max(serinus_notices_pending) or vector(0)", bad_from=1
            )
        )
        .with_panel(
            worst_first(
                numbers(
                    "Models",
                    "The worst guard of each model's last rollout, its candidate's share, what is wrong with stable.",
                    [
                        ("max by (model) (serinus_guard_verdict)", "worst guard"),
                        ("max by (model) (serinus_rollout_canary_ratio)", "canary share"),
                        ("max by (model) (serinus_rollout_log_e_value)", "ln E"),
                        ('max by (model) (serinus_model_version{alias="stable"})', "stable version"),
                        (
                            "count by (model) (max by (model, task, slice, check) (serinus_health_finding))",
                            "findings on stable",
                        ),
                    ],
                ),
                "worst guard",
            )
        )
        .with_panel(
            timeline(
                "Phases",
                "Which phase each rollout is in: the bar is there while the value is 1.",
                [("max by (model, phase) (serinus_rollout_phase) == 1", "{{model}} {{phase}}")],
                mapped=False,
            )
        )
        .with_panel(
            series(
                "Requests",
                "Answers a second, by model.",
                [("sum by (model) (rate(serinus_requests_total[5m]))", "{{model}}")],
                unit="reqps",
            )
        )
        .with_panel(
            series(
                "Failed requests",
                "Shed, too late, or failed; requests that were wrong themselves are left out.",
                [
                    (
                        'sum by (model) (rate(serinus_requests_total{result=~"error|timeout|shed"}[5m])) '
                        "/ (sum by (model) (rate(serinus_requests_total[5m])) > 0)",
                        "{{model}}",
                    )
                ],
                unit="percentunit",
            )
        )
    )
