"""The cluster that is tried: that of $KUBECONFIG, else the one of `../shared/kube` beside the checkout."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
KIT = REPOSITORY.parent / "shared" / "kube" / "cluster"
NAMESPACE = "serinus"


class NotRun(Exception):
    """Why something was not tried."""


@dataclass(frozen=True)
class Cluster:
    """`env`: for kubectl. `kit`: the program that holds the cluster, None for one of somebody else's."""

    env: dict[str, str] = field(repr=False)
    kit: Path | None

    def kubectl(self, *words: str, text: str | None = None, check: bool = True, timeout_s: float = 300) -> str:
        """What kubectl prints. Raises AssertionError with its own words."""
        command = ["kubectl", "-n", NAMESPACE, *words]
        done = subprocess.run(
            command, env=self.env, input=text, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        assert not check or done.returncode == 0, f"{shlex.join(command)}: {done.stderr.strip()}"
        return done.stdout

    def get(self, *words: str) -> Any:
        return json.loads(self.kubectl("get", *words, "--output", "json"))

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl("apply", "--server-side", "-f", "-", text=yaml.safe_dump_all(objects))

    def load(self, archive: Path) -> None:
        if self.kit is None:
            raise NotRun("the image is not loaded into a cluster of $KUBECONFIG: load it first, and set SERINUS_IMAGE")
        subprocess.run([str(self.kit), "load", str(archive)], check=True, capture_output=True, timeout=300)


def find() -> Cluster:
    """Raises NotRun when there is none. That of the kit is started, if it is not up."""
    if os.environ.get("KUBECONFIG"):
        if shutil.which("kubectl") is None:
            raise NotRun("KUBECONFIG is set, and there is no kubectl on PATH")
        return Cluster(dict(os.environ), None)
    if not KIT.is_file():
        raise NotRun(f"there is no cluster: KUBECONFIG is not set, and {KIT} is not there")
    if os.geteuid() != 0:
        raise NotRun(f"{KIT} needs root; or set KUBECONFIG to a cluster of yours")
    subprocess.run([str(KIT), "up"], check=True, timeout=600)
    told = subprocess.run([str(KIT), "env"], check=True, capture_output=True, text=True, timeout=60).stdout
    words = dict(line.removeprefix("export ").split("=", 1) for line in told.splitlines())
    path = words.pop("PATH").replace("$PATH", os.environ["PATH"])
    return Cluster({**os.environ, **words, "PATH": path}, KIT)


def until(what: str, within_s: float, holds: Callable[[], Any]) -> Any:
    """What `holds` gives once that is true. Raises AssertionError after `within_s` seconds."""
    deadline, last = time.monotonic() + within_s, ""
    while time.monotonic() < deadline:
        try:
            if found := holds():
                return found
        except (AssertionError, OSError, ValueError) as error:
            last = f": {error}"
        time.sleep(0.5)
    raise AssertionError(f"waited {within_s:g} s for {what}{last}")
