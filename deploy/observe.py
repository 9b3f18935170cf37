"""`python -m deploy.observe`: Prometheus and Alertmanager beside the local stack, on loopback, until Ctrl-C.

`make observe` runs it. State lies in HOME/observe: settings, rules, data and logs."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import httpx

from deploy.observe_settings import Times, write_settings
from deploy.ports import HOST, choose_port
from deploy.processes import die_with_parent
from serinus.errors import SerinusError
from serinus.home import Home

__all__ = ["Observer", "main"]

READY_S = 60.0


class CannotObserve(SerinusError):
    """What observing needs is not there."""

    hint = "`serinus up` starts a stack; apt-get install prometheus prometheus-alertmanager"


class Observer:
    """Both processes with their addresses. `webhook`: where alerts go; "": nowhere, Alertmanager shows them."""

    def __init__(
        self, home: Home, ports: tuple[int, int] = (0, 0), webhook: str = "", times: Times | None = None
    ) -> None:
        """`ports`: of Prometheus and Alertmanager; 0: any free one. Raises CannotObserve."""
        stack = home.stack()
        if stack is None:
            raise CannotObserve(f"no stack is up in {home.path}")
        programs = _program("prometheus"), _program("prometheus-alertmanager", "alertmanager")
        port = choose_port(ports[0], "Prometheus", "--prometheus-port")
        alerts_port = choose_port(ports[1], "Alertmanager", "--alertmanager-port")
        self.url, self.alerts_url = f"http://{HOST}:{port}", f"http://{HOST}:{alerts_port}"
        self.folder = home.path / "observe"
        write_settings(self.folder, stack, f"{HOST}:{alerts_port}", webhook, times or Times())
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            self._start(
                "alertmanager",
                programs[1],
                f"--web.listen-address={HOST}:{alerts_port}",
                f"--storage.path={self.folder / 'alerts'}",
                "--cluster.listen-address=",
            )
            self._start(
                "prometheus",
                programs[0],
                f"--web.listen-address={HOST}:{port}",
                f"--storage.tsdb.path={self.folder / 'series'}",
                "--storage.tsdb.retention.time=15d",
                "--enable-feature=exemplar-storage",
            )
            self._until_ready()
        except BaseException:
            self.stop()
            raise

    def running(self) -> bool:
        return all(process.poll() is None for process in self._processes)

    def stop(self) -> None:
        """End both, and wait until they are gone."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, name: str, program: str, *words: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(
                    [program, f"--config.file={self.folder / name}.yml", *words],
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    preexec_fn=die_with_parent,  # noqa: PLW1509 - this process has one thread
                )
            )

    def _until_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        for url in (self.alerts_url, self.url):
            while not _answers(f"{url}/-/ready"):
                if not self.running() or time.monotonic() > deadline:
                    raise CannotObserve("Prometheus or Alertmanager did not start", f"see {self.folder}/*.log")
                time.sleep(0.05)


def main(arguments: list[str] | None = None) -> int:
    """0 after Ctrl-C, 1 when something is missing or ended by itself."""
    parser = argparse.ArgumentParser(prog="python -m deploy.observe", description=__doc__)
    parser.add_argument("--home", help="state folder of the stack (default: $SERINUS_HOME, else ~/.serinus)")
    parser.add_argument("--prometheus-port", type=int, default=9090, help="0: any free port")
    parser.add_argument("--alertmanager-port", type=int, default=9093, help="0: any free port")
    parser.add_argument("--webhook", default="", help="URL that gets the alerts, as Alertmanager posts them")
    options = parser.parse_args(arguments)
    stopping = threading.Event()
    for which in (signal.SIGTERM, signal.SIGINT):
        signal.signal(which, lambda *_: stopping.set())
    try:
        home = Home(options.home)
        observer = Observer(home, (options.prometheus_port, options.alertmanager_port), options.webhook)
    except SerinusError as error:
        print(f"{error.detail}\n  -> {error.advice}", file=sys.stderr)
        return 1
    print(f"Prometheus    {observer.url}/alerts\nAlertmanager  {observer.alerts_url}")
    print(f"Grafana       add a data source of type Prometheus with the URL {observer.url}")
    print(f"state         {observer.folder}\nCtrl-C ends both.", flush=True)
    while not stopping.wait(0.5) and observer.running():
        pass
    ended = not observer.running()
    observer.stop()
    return int(ended)


def _program(*names: str) -> str:
    for name in names:
        if found := shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/bin:/usr/local/bin"):
            return found
    raise CannotObserve(f"{names[0]} is not here", f"apt-get install {names[0]}")


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False, timeout=2).is_success
    except httpx.HTTPError:
        return False


if __name__ == "__main__":
    sys.exit(main())
