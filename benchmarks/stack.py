"""Serinus as its users run it: `serinus up`, packages pushed and promoted, asked on its public port behind HAProxy."""

from __future__ import annotations

import shutil
import sys
import time
import urllib.error
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import psutil

from benchmarks.processes import NotThere, Server, free_port, get
from serinus.client import Client
from serinus.home import Home
from serinus.home import Stack as StackFile
from serinus.package import read_manifest
from serinus.sla import Sla

START_S, APPLIED_S = 240.0, 60.0


class Stack(Server):
    """Controller, serving pool with one front door, monitor; everything on: routing, log, evidence."""

    def __init__(self) -> None:
        home = Path(f"/tmp/sb-{free_port()}")  # noqa: S108 (short: HAProxy's sockets lie under it)
        ports = ["--controller-port", "0", "--serving-port", "0", "--front-doors", "1"]
        command = [sys.executable, "-m", "serinus.cli", "up", "--foreground", "--home", str(home), *ports]
        super().__init__("serinus", command, {}, 0)
        self.home = Home(home)
        try:
            stack = self._wait_up()
        except BaseException:
            self.stop()
            raise
        self.port = int(stack.serving.rsplit(":", 1)[1])
        self.client = Client(home=home)
        self.models: dict[str, Path] = {}

    def _wait_up(self) -> StackFile:
        until = time.monotonic() + START_S
        while (stack := self.home.stack()) is None:
            if time.monotonic() > until or self.process.poll() is not None:
                tail = (self.folder / "output.txt").read_text(errors="replace")[-600:]
                raise NotThere(f"`serinus up` did not come up: {tail}")
            time.sleep(0.1)
        return stack

    def serve(self, models: Mapping[str, Path], sla: Mapping[str, Any] = {}) -> None:
        """Push these packages as models of their own, promote them, and wait until the front door answers for them.

        `sla`: fields of the SLA beside those of the model. Raises NotThere when one is not applied in time."""
        for model, folder in models.items():
            tasks = read_manifest(folder).task_names
            heads = {task: {"label_window_s": 60, "absent": "negative"} for task in tasks}
            self.client.apply(Sla.model_validate({"model": model, "tasks": heads, **sla}))
            self.client.promote(model, self.client.push(model, folder).version, initial=True)
            self.models[model] = folder
        for model in models:
            self._wait_for(model)

    def serving_processes(self) -> list[psutil.Process]:
        """The serving pool alone: front door, HAProxy, Ray; without controller, monitor and supervisor."""
        for process in self.tree():
            if process.cmdline()[1:] == ["-m", "serving"]:
                return [process, *process.children(recursive=True)]
        raise NotThere("the stack has no serving process")

    def status(self) -> dict[str, Any]:
        """What the front door says of itself."""
        found: dict[str, Any] = orjson.loads(get(self.port, "/v1/serving/status"))
        return found

    def _wait_for(self, model: str) -> None:
        until = time.monotonic() + APPLIED_S
        while True:
            try:
                get(self.port, f"/v2/models/{model}/ready")
                return
            except urllib.error.URLError as error:
                if time.monotonic() > until:
                    raise NotThere(f"the front door does not serve {model}: {error}") from error
            time.sleep(0.1)

    def stop(self) -> None:
        if hasattr(self, "client"):
            self.client.close()
        super().stop()
        shutil.rmtree(self.home.path, ignore_errors=True)
