"""An operator as it runs in a cluster, with its own account, between a real API server and a real controller."""

from __future__ import annotations

import json
import lzma
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from controller.services import Services
from deploy.processes import die_with_parent
from tests.kube.between import Between, between
from tests.kube.installed import ApiServer
from tests.kube.overlays import KUBERNETES, kubectl

KUBERAY = Path(__file__).parents[3] / "shared" / "kube" / "bin" / "kuberay-crds.yaml.xz"


@dataclass
class Operated:
    """`operators`: processes that run; `http`: of the controller, as its admin; `proxy`: before the API server."""

    api_server: ApiServer
    namespace: str
    folder: Path
    services: Services
    http: httpx.Client
    proxy: Between
    kubeconfig: Path
    operators: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def kubectl(self, *words: str, text: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        binary = self.api_server.binaries / "kubectl"
        done = kubectl(binary, Path(self.api_server.kubeconfig), "-n", self.namespace, *words, text=text)
        assert not check or done.returncode == 0, done.stderr
        return done

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl("apply", "--server-side", "-f", "-", text=yaml.safe_dump_all(objects))

    def get(self, *words: str) -> dict[str, Any]:
        return dict(json.loads(self.kubectl("get", *words, "-o", "json").stdout))

    def there(self, *words: str) -> bool:
        return self.kubectl("get", *words, check=False).returncode == 0

    def status(self, *words: str) -> dict[str, Any]:
        return dict(self.get(*words).get("status", {}))

    def state(self, *words: str) -> dict[str, str]:
        """Condition -> its status and reason."""
        return {
            each["type"]: f"{each['status']} {each['reason']}" for each in self.status(*words).get("conditions", [])
        }

    def events(self, name: str) -> list[str]:
        """Reasons of what was told about an object, the oldest first."""
        found = self.get("events", "--field-selector", f"involvedObject.name={name}")["items"]
        return [each["reason"] for each in sorted(found, key=lambda each: each["metadata"]["creationTimestamp"])]

    def start(self) -> subprocess.Popen[bytes]:
        """Another copy of the operator."""
        name = f"operator-{len(os.listdir(self.folder))}"
        token = self.folder / "token"
        token.write_text("admin-token\n")
        env = {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "SERINUS_API": str(self.http.base_url),
            "SERINUS_TOKEN_FILE": str(token),
            "SERINUS_OPERATOR_NAMESPACE": self.namespace,
            "SERINUS_OPERATOR_NAME": name,
            "SERINUS_OPERATOR_HOST": "127.0.0.1",
            "SERINUS_OPERATOR_PORT": "0",
        }
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "controller.operator"],
                env=env,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,  # noqa: PLW1509
            )
        self.operators.append(process)
        return process

    def stop(self, process: subprocess.Popen[bytes], *, kill: bool = False) -> int:
        self.operators.remove(process)
        process.kill() if kill else process.terminate()
        return process.wait(20)

    def holder(self) -> str:
        """Which copy acts."""
        if not self.there("lease", "serinus-operator"):
            return ""
        return str(self.get("lease", "serinus-operator")["spec"].get("holderIdentity") or "")

    def log(self) -> str:
        return "".join(path.read_text()[-3_000:] for path in sorted(self.folder.glob("*.log")))

    def until(self, condition: Callable[[], Any], what: str, timeout_s: float = 60.0) -> Any:
        end = time.monotonic() + timeout_s
        while not (found := condition()):
            assert time.monotonic() < end, f"waited {timeout_s} s for {what}\n{self.log()}"
            time.sleep(0.1)
        return found


@contextmanager
def operated(
    api_server: ApiServer, namespace: str, folder: Path, services: Services, http: httpx.Client
) -> Iterator[Operated]:
    """Its namespace, account and definitions made; no operator runs yet."""
    binary, admin = api_server.binaries / "kubectl", Path(api_server.kubeconfig)

    def run(*words: str, text: str = "") -> str:
        done = kubectl(binary, admin, *words, text=text)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("apply", "--server-side", "-k", str(KUBERNETES / "crds"))
    if KUBERAY.is_file():
        run("apply", "--server-side", "-f", "-", text=lzma.decompress(KUBERAY.read_bytes()).decode())
    run("create", "namespace", namespace)
    run("-n", namespace, "apply", "-f", str(KUBERNETES / "operator" / "rbac.yaml"))
    token = run("-n", namespace, "create", "token", "serinus-operator").strip()
    with between(admin, token, namespace, folder) as (proxy, kubeconfig):
        found = Operated(api_server, namespace, folder, services, http, proxy, kubeconfig)
        try:
            yield found
        finally:
            for each in list(found.operators):
                found.stop(each, kill=True)
