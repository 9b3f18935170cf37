"""The environment of a pool's pods, the same in all of them. Pure."""

from __future__ import annotations

from controller.operator.pool import Pool

__all__ = ["LOG", "METRICS", "METRICS_PORT", "STATE", "TOKEN", "environment"]

LOG, STATE, TOKEN = "/var/log/serinus", "/var/lib/serinus", "/etc/serinus/token"
METRICS, METRICS_PORT = "/etc/serinus/metrics", 9464
TUNED = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_HAPROXY_NBTHREAD": "1",
    "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
    "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
    "RAY_SERVE_HAPROXY_RETRIES": "3",
    "RAY_SERVE_HAPROXY_TIMEOUT_CONNECT_S": "1",  # a pod that is gone answers nothing: ask another one then
    "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "1s",
    "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "5",
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "0.5",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "1",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "40",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "2",
    "RAY_SERVE_GRPC_MAX_MESSAGE_SIZE": str((8 << 20) + (64 << 10)),
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serving.shortcut:middlewares",
    "OMP_NUM_THREADS": "1",
}
"""As on one machine (`serving/environment.py`; a test holds them together), but for its ports, sockets and token."""


def environment(pool: Pool) -> dict[str, str]:
    """Names and values; nothing secret is among them. What the pool sets by name never moves what is fixed here."""
    named = {f"SERINUS_{name.upper()}": str(value) for name, value in sorted(pool.settings.items())}
    fixed = {
        "SERINUS_SETTLE_S": "30",  # a pod that is new has neither tables nor packages
        "HOME": "/home/serinus",
        "SERINUS_HOME": STATE,
        "SERINUS_LOG": LOG,
        "SERINUS_API": pool.api,
        "SERINUS_POOL": pool.name,
        "SERINUS_TOKEN_FILE": f"{TOKEN}/token",
        "SERINUS_HTTP_PORT": "8000",
        "SERINUS_GRPC_PORT": "9000" if pool.grpc else "0",
        "SERINUS_GRPC_BIND": "0.0.0.0" if pool.grpc else "127.0.0.1",  # noqa: S104 (a network policy fences it)
        "SERINUS_FRONT_DOORS": _range(pool.front_doors),
        "SERINUS_CANDIDATES": _range(pool.candidates),
        "SERINUS_METRICS_HERE": "1",
        "SERINUS_METRICS_PORT": str(METRICS_PORT),
        "SERINUS_METRICS_HOST": "0.0.0.0",  # noqa: S104 (a network policy fences it, and a token)
        "SERINUS_METRICS_TOKEN_FILE": f"{METRICS}/token",
        "RAY_SERVE_HAPROXY_MAXCONN": str(pool.max_connections),
    }
    return {**named, **TUNED, **fixed}


def _range(pods: tuple[int, int]) -> str:
    return f"{pods[0]}:{pods[1]}"
