"""`python -m serving`: one serving pool on this machine, until SIGTERM."""

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

from serinus.errors import SerinusError, Unavailable
from serving import environment
from serving.settings import Settings

log = logging.getLogger("serving")
READY_WITHIN_S = 120.0
BROKEN_AFTER_S = 60.0


def main() -> int:
    """Run the pool. Returns 0 after SIGTERM or SIGINT, 1 when it cannot start or broke for good."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    stop = threading.Event()
    _stop_on_signals(stop)
    out = _own_stdout()
    try:
        settings = Settings.from_env(os.environ)
        with _alone(settings.home), _machinery(settings):
            _stop_on_signals(stop)  # Ray has put its own handlers there, which abort
            url = f"http://127.0.0.1:{settings.http_port}"
            _wait_until_live(url, stop)
            if not stop.is_set():
                print(json.dumps({"ready": {"url": url, "pid": os.getpid()}}), file=out, flush=True)
            return _supervise(url, stop)
    except SerinusError as error:
        print(json.dumps(error.problem()), file=sys.stderr, flush=True)
        return 1


def _stop_on_signals(stop: threading.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())


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
def _machinery(settings: Settings) -> Iterator[None]:
    """Ray, Ray Serve with HAProxy, and the application; all ended on the way out."""
    folder = environment.run_folder(settings.home)
    if not environment.is_free(settings.http_port):
        raise Unavailable(f"port {settings.http_port} is taken", "stop who has it, or set another SERINUS_HTTP_PORT")
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
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": "127.0.0.1", "port": settings.http_port},
            logging_config={"enable_access_log": False, "log_level": "WARNING"},
        )
        serve.run(application(settings), name=APPLICATION, route_prefix="/")
        yield
    finally:
        _end(serve, ray)
        environment.end_leftovers(folder)
        shutil.rmtree(folder, ignore_errors=True)


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


def _supervise(url: str, stop: threading.Event) -> int:
    """Until told to stop. Ray Serve restarts what dies; when nothing has answered for a minute, give up."""
    answered = time.monotonic()
    while not stop.wait(2.0):
        if _is_live(url):
            answered = time.monotonic()
        elif time.monotonic() > answered + BROKEN_AFTER_S:
            raise Unavailable(f"{url} has not answered for {BROKEN_AFTER_S:g} s", "the log of serving says why")
    return 0


def _is_live(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/v2/health/live", timeout=2.0) as answer:  # noqa: S310 (our own URL)
            return bool(answer.status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
