"""`python -m monitors`: one monitor process, configured by its environment (see `settings`)."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from monitors.monitor import Monitor
from monitors.settings import Settings
from serinus.errors import SerinusError
from serinus.exposition import Port


def main() -> int:
    """Run until SIGTERM or SIGINT; 0 when stopped so, 2 when it is not configured."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        settings = Settings.from_environment()
    except (SerinusError, OSError) as error:
        print(f"serinus monitor: {error}", file=sys.stderr)
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    monitor = Monitor.of(settings)
    try:
        if settings.metrics_port:
            Port(monitor.counting.registry, settings.metrics_host, settings.metrics_port, settings.metrics_token_file)
    except SerinusError as error:
        print(f"serinus monitor: {error}", file=sys.stderr)
        return 2
    print(json.dumps({"ready": {"monitor": settings.name, "pid": os.getpid()}}), flush=True)
    monitor.run(stop.wait)
    return 0


if __name__ == "__main__":
    sys.exit(main())
