"""`python -m serving`: one serving pool on this machine, until SIGTERM. SIGHUP: a rolling update of all replicas."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from prometheus_client import CollectorRegistry

from serinus.errors import SerinusError, Unavailable
from serinus.exposition import Port, Scraped
from serving import environment
from serving.settings import Settings
from serving.telling import shown
from serving.upkeep import Upkeep

log = logging.getLogger("serving")
READY_WITHIN_S = 120.0
BROKEN_AFTER_S = 60.0


def main() -> int:
    """Run the pool. Returns 0 after SIGTERM or SIGINT, 1 when it cannot start or broke for good."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    stop, renew = threading.Event(), threading.Event()
    _heed_signals(stop, renew)
    out = _own_stdout()
    try:
        settings = Settings.from_env(os.environ)
        with _alone(settings.home), _machinery(settings, stop):
            _heed_signals(stop, renew)
            url = f"http://127.0.0.1:{settings.http_port}"
            _wait_until_live(url, stop)
            _show_metrics(settings)
            if not stop.is_set():
                print(json.dumps({"ready": _ready(settings, url)}), file=out, flush=True)
            return _supervise(url, stop, renew, Upkeep(settings))
    except SystemExit:  # told to stop before it was ready; the handler that Ray has while it starts does the same
        return 0
    except SerinusError as error:
        print(json.dumps(error.problem()), file=sys.stderr, flush=True)
        return 1


def _show_metrics(settings: Settings) -> None:
    """On a port of its own, where one is given. It ends with the process. Raises Unavailable."""
    if settings.metrics_port:
        registry = CollectorRegistry()
        registry.register(Scraped(shown(settings.metrics)))
        Port(registry, settings.metrics_host, settings.metrics_port, settings.metrics_token_file)


def _ready(settings: Settings, url: str) -> dict[str, object]:
    """What the ready line says. `grpc`: host:port, where gRPC is on."""
    grpc = {"grpc": f"127.0.0.1:{settings.grpc_port}"} if settings.grpc_port else {}
    return {"url": url, **grpc, "pid": os.getpid()}


def _heed_signals(stop: threading.Event, renew: threading.Event) -> None:
    for number, event in ((signal.SIGTERM, stop), (signal.SIGINT, stop), (signal.SIGHUP, renew)):
        signal.signal(number, lambda *_, event=event: event.set())


def _give_up_on_signals(stop: threading.Event) -> None:
    """While it starts, which may take a minute, nothing asks for `stop`: the first signal ends whatever waits."""

    def told(*_: object) -> None:
        if not stop.is_set():
            stop.set()
            raise SystemExit

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)


def _own_stdout() -> TextIO:
    """Standard output for us alone; whatever else is printed (Ray does) goes to standard error."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return out


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Hold the lock of this home. Raises Unavailable when another pool runs in it."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "serving.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Unavailable(f"another serving pool runs in {home}", "stop it, or set another SERINUS_HOME") from error
        yield


@contextlib.contextmanager
def _machinery(settings: Settings, stop: threading.Event) -> Iterator[None]:
    """Ray, Ray Serve with HAProxy, and the application; all ended on the way out."""
    folder = environment.run_folder(settings.home)
    for port, name in ((settings.http_port, "SERINUS_HTTP_PORT"), (settings.grpc_port, "SERINUS_GRPC_PORT")):
        if port and not environment.is_free(port):
            raise Unavailable(f"port {port} is taken", f"stop who has it, or set another {name}")
    environment.prepare(os.environ, folder)
    import ray  # noqa: PLC0415 (it reads its settings when it is imported)
    from ray import serve  # noqa: PLC0415

    from serving.app import APPLICATION, application  # noqa: PLC0415

    try:
        ray.init(
            address="local",
            num_cpus=1,
            include_dashboard=False,
            object_store_memory=100 << 20,
            logging_level=logging.WARNING,
            log_to_driver=True,
            _temp_dir=str(folder / "ray"),
            _node_ip_address="127.0.0.1",
        )
        _give_up_on_signals(stop)  # Ray has put its own handlers there, which abort
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": "127.0.0.1", "port": settings.http_port},
            grpc_options=_grpc_options(settings),
            logging_config={"enable_access_log": False, "log_level": "WARNING"},
        )
        serve.run(application(settings), name=APPLICATION, route_prefix="/")
        yield
    finally:
        started = environment.descendants()
        _end(serve, ray)
        environment.end(started)
        environment.end_leftovers(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _grpc_options(settings: Settings) -> dict[str, Any]:
    """Ray Serve's gRPC, behind the same HAProxy. Its reflection knows only what generated code has registered."""
    functions = ["serving.grpc_service.add_to_server"] if settings.grpc_port else []
    return {
        "port": settings.grpc_port or 9000,
        "grpc_servicer_functions": functions,
        "enable_reflection": False,
    }


def _end(serve: Any, ray: Any) -> None:
    """Drain and stop; a runtime that is broken already must not keep us from ending."""
    for what, end in (("Ray Serve", serve.shutdown), ("Ray", ray.shutdown)):
        try:
            end()
        except Exception:
            log.exception("%s did not stop well", what)


def _wait_until_live(url: str, stop: threading.Event) -> None:
    """Until a request through HAProxy is answered by a front door. Raises Unavailable when none is."""
    deadline = time.monotonic() + READY_WITHIN_S
    while not stop.is_set() and not _is_live(url):
        if time.monotonic() > deadline:
            raise Unavailable(f"{url} did not answer within {READY_WITHIN_S:g} s", "the log of serving says why")
        stop.wait(0.05)


def _supervise(url: str, stop: threading.Event, renew: threading.Event, upkeep: Upkeep) -> int:
    """Until told to stop; told to renew, exchange the replicas one by one. The logs are kept small meanwhile.

    Ray Serve restarts what dies; when nothing has answered for a minute, give up."""
    answered = time.monotonic()
    while not stop.wait(2.0):
        upkeep.step()
        if renew.is_set():
            renew.clear()
            _renew()
        if _is_live(url):
            answered = time.monotonic()
        elif time.monotonic() > answered + BROKEN_AFTER_S:
            raise Unavailable(f"{url} has not answered for {BROKEN_AFTER_S:g} s", "the log of serving says why")
    upkeep.stop()
    return 0


def _renew() -> None:
    """Start every replica anew, with the settings as they are now, drained one after the other. Failing, it is said."""
    from ray import serve  # noqa: PLC0415 (it reads its settings when it is imported)

    from serving.app import APPLICATION, application  # noqa: PLC0415

    try:
        serve.run(application(Settings.from_env(os.environ)), name=APPLICATION, route_prefix="/")
    except Exception:
        log.exception("the rolling update failed")


def _is_live(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/v2/health/live", timeout=2.0) as answer:  # noqa: S310 (our own URL)
            return bool(answer.status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
