"""The metrics of all rooms, by name: what is counted, in which unit, with which labels.

Names and units are Prometheus' own conventions (https://prometheus.io/docs/practices/naming/). Rooms make their
collectors from these words, rules and dashboards are checked against them. No label takes values from requests: models,
tasks, slices, guards, arms, phases and versions come from the registry, whose number is bounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["ALL", "CONTROLLER", "FAST_BUCKETS_S", "MONITOR", "SERVING", "SLOW_BUCKETS_S", "VERDICT_CODES", "Declared"]

Kind = Literal["counter", "gauge", "histogram"]
FAST_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
HEAD_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05)
SLOW_BUCKETS_S = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0)
VERDICT_CODES = {"satisfied": 0, "inconclusive": 1, "error": 2, "violated": 3}
"""What `serinus_guard_verdict` says; its worst is its greatest."""


@dataclass(frozen=True, slots=True)
class Declared:
    """One metric family. `name`: as it is scraped, `_total` of counters included. `buckets`: upper bounds, seconds."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


GUARD = ("model", "stream", "task", "slice", "metric")

SERVING = (
    Declared(
        "serinus_requests_total",
        "counter",
        "Answers by arm. result: ok, invalid, shed, timeout or error",
        ("model", "arm", "result"),
    ),
    Declared(
        "serinus_request_duration_seconds",
        "histogram",
        "Time within the front door, from the body read to the answer made",
        ("model", "arm"),
        FAST_BUCKETS_S,
    ),
    Declared(
        "serinus_rows_total", "counter", "Rows answered, by the version that was meant to", ("model", "arm", "version")
    ),
    Declared(
        "serinus_head_duration_seconds",
        "histogram",
        "Time of one head's run",
        ("model", "task"),
        HEAD_BUCKETS_S,
    ),
    Declared(
        "serinus_head_fallbacks_total",
        "counter",
        "Rows answered by a fallback. reason: candidate where stable answered in its place, else what stood in",
        ("model", "task", "arm", "reason"),
    ),
    Declared(
        "serinus_head_failures_total",
        "counter",
        "Requests without an answer of the head: overrun, raised, invalid, breaker, busy, deadline, upstream or trunk",
        ("model", "task", "arm", "reason"),
    ),
    Declared(
        "serinus_encoder_cache_lookups_total",
        "counter",
        "Lookups of cached parts. result: hit or miss",
        ("result",),
    ),
    Declared("serinus_requests_in_flight", "gauge", "Requests that wait for their answer"),
    Declared("serinus_shadow_queue_rows", "gauge", "Copies of requests that wait to be scored"),
    Declared(
        "serinus_shadow_rows_total",
        "counter",
        "Rows of copies. result: scored, dropped, failed or limited",
        ("model", "result"),
    ),
    Declared("serinus_spool_waiting_bytes", "gauge", "Rows that wait for the disk"),
    Declared(
        "serinus_recorded_rows_total",
        "counter",
        "Rows given to the log, those that were then lost included",
        ("model",),
    ),
    Declared(
        "serinus_lost_rows_total",
        "counter",
        "Rows that could not be written. reason: the log that they were for",
        ("model", "reason"),
    ),
    Declared(
        "serinus_labels_total",
        "counter",
        "Labels sent. result: accepted or refused",
        ("model", "result"),
    ),
    Declared("serinus_route_epoch", "gauge", "Epoch of the route table that is applied", ("model",)),
)

MONITOR = (
    Declared("serinus_monitor_looks_total", "counter", "Looks that were made", ("model",)),
    Declared("serinus_monitor_look_duration_seconds", "histogram", "Time of one look", ("model",), SLOW_BUCKETS_S),
    Declared("serinus_monitor_rows_total", "counter", "Answers, once for each task, that looks took up", ("model",)),
    Declared(
        "serinus_monitor_lag_seconds",
        "gauge",
        "Event time that labels are complete up to and no look has reached yet",
        ("model",),
    ),
    Declared("serinus_monitor_late_labels_total", "counter", "Labels that came after their window", ("model", "task")),
    Declared("serinus_monitor_errors_total", "counter", "Looks that failed", ("model",)),
    Declared(
        "serinus_labels_complete_timestamp_seconds",
        "gauge",
        "Event time up to which the source of a task's labels has sent all",
        ("model", "task"),
    ),
)

CONTROLLER = (
    Declared("serinus_guard_estimate", "gauge", "Candidate against baseline, in the metric's own unit", GUARD),
    Declared("serinus_guard_interval_low", "gauge", "Lower end of the interval that is valid at every look", GUARD),
    Declared("serinus_guard_interval_high", "gauge", "Upper end of that interval", GUARD),
    Declared("serinus_guard_margin", "gauge", "How much worse the candidate may be", GUARD),
    Declared(
        "serinus_guard_log_e_value", "gauge", "Natural logarithm of the evidence that the margin is exceeded", GUARD
    ),
    Declared("serinus_guard_verdict", "gauge", "0 satisfied, 1 inconclusive, 2 error, 3 violated", GUARD),
    Declared("serinus_guard_labels_used", "gauge", "Mature labels in it", GUARD),
    Declared(
        "serinus_guard_labels_missing",
        "gauge",
        "Labels that are still needed for a verdict, as far as one can say",
        GUARD,
    ),
    Declared(
        "serinus_rollout_info",
        "gauge",
        "1 for the rollout that goes on or ended last",
        ("model", "rollout", "candidate", "baseline"),
    ),
    Declared("serinus_rollout_phase", "gauge", "1 for the phase of that rollout, 0 for the others", ("model", "phase")),
    Declared("serinus_rollout_phase_since_timestamp_seconds", "gauge", "When that phase began", ("model",)),
    Declared("serinus_rollout_canary_ratio", "gauge", "Share of the entities that the candidate answers", ("model",)),
    Declared("serinus_rollout_shadow_ratio", "gauge", "Share of the requests that the shadow scores", ("model",)),
    Declared(
        "serinus_rollout_log_e_value",
        "gauge",
        "Natural logarithm of the whole rollout's evidence against it",
        ("model",),
    ),
    Declared("serinus_rollout_log_e_threshold", "gauge", "At this value it is rolled back", ("model",)),
    Declared("serinus_rollout_held", "gauge", "1 while a hold of the evidence stops the ramp", ("model",)),
    Declared("serinus_rollouts_ended_total", "counter", "Rollouts by their end", ("model", "result")),
    Declared(
        "serinus_rollout_decision_seconds",
        "histogram",
        "From evidence received to the decision stored",
        (),
        SLOW_BUCKETS_S,
    ),
    Declared("serinus_evidence_timestamp_seconds", "gauge", "When the last evidence came", ("model",)),
    Declared("serinus_evidence_maturity_timestamp_seconds", "gauge", "Event time up to which it is mature", ("model",)),
    Declared("serinus_model_version", "gauge", "Number of the version an alias names", ("model", "alias")),
    Declared(
        "serinus_health_finding",
        "gauge",
        "1 while stable itself is out of its bounds",
        ("model", "task", "slice", "check"),
    ),
    Declared("serinus_replicas", "gauge", "Replicas. state: live or lost", ("pool", "role", "state")),
    Declared("serinus_replicas_behind", "gauge", "Live replicas that have not applied the newest table", ("model",)),
    Declared("serinus_active_controller", "gauge", "1 where the lease of the reconciler is held"),
    Declared(
        "serinus_reconcile_duration_seconds", "histogram", "Time of one turn of the reconciler", (), SLOW_BUCKETS_S
    ),
    Declared("serinus_reconcile_errors_total", "counter", "Turns that failed"),
    Declared("serinus_api_requests_total", "counter", "Requests of the API", ("method", "route", "code")),
    Declared(
        "serinus_api_request_duration_seconds",
        "histogram",
        "Time of one request; long polls are left out",
        ("route",),
        SLOW_BUCKETS_S,
    ),
    Declared("serinus_jobs", "gauge", "Jobs by state", ("kind", "state")),
    Declared("serinus_notices_pending", "gauge", "Notices that nobody has got yet"),
    Declared("serinus_database_up", "gauge", "1 while the database answers"),
)

ALL = (*SERVING, *MONITOR, *CONTROLLER)
