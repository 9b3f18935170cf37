"""Both overlays applied to the API server of the tests, each in a namespace of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kubernetes import client, config
from kubernetes.client.exceptions import ConflictException

from tests.kube.overlays import KUBERNETES, OVERLAYS, in_namespace, kubectl, rendered

NAMESPACES = {"dev": "serinus", "production": "serinus-production"}
PODS = "serinus-pods"
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}


class ApiServer(Protocol):
    """What is needed of it."""

    @property
    def kubeconfig(self) -> Path: ...

    @property
    def binaries(self) -> Path: ...


@dataclass(frozen=True)
class Installed:
    """`folders`: kustomizations by overlay; `pods`: a restricted namespace without quota, limits or accounts."""

    binary: Path
    kubeconfig: Path
    api: client.ApiClient
    folders: dict[str, Path]
    namespaces: dict[str, str]
    pods: str

    def kubectl(self, *words: str) -> subprocess.CompletedProcess[str]:
        return kubectl(self.binary, self.kubeconfig, *words)

    def all_folders(self) -> dict[str, Path]:
        """Those of the overlays, and the others that start pods."""
        return {**self.folders, **{name: KUBERNETES / name for name in ("retrain", "restore")}}

    def versions(self, name: str) -> list[str]:
        """Kind, name and resource version of every object of an overlay."""
        told = "-o=jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.resourceVersion}{'\\n'}{end}"
        done = self.kubectl("get", "-k", str(self.folders[name]), told)
        assert done.returncode == 0, done.stderr
        found = done.stdout.splitlines()
        assert len(found) == len(rendered(self.binary, self.folders[name]))
        return found


@contextmanager
def install(api_server: ApiServer, folder: Path) -> Iterator[Installed]:
    """Apply both; what another test has applied stays."""
    binary = api_server.binaries / "kubectl"
    folders = {name: in_namespace(folder / name, name, NAMESPACES[name]) for name in OVERLAYS}
    with config.new_client_from_config(str(api_server.kubeconfig)) as api:
        found = Installed(binary, Path(api_server.kubeconfig), api, folders, NAMESPACES, PODS)
        for each in folders.values():
            done = found.kubectl("apply", "--server-side", "-k", str(each))
            assert done.returncode == 0, done.stderr
            assert "Warning" not in done.stderr, done.stderr
        core, meta = client.CoreV1Api(api), client.V1ObjectMeta
        with suppress(ConflictException):
            core.create_namespace(client.V1Namespace(metadata=meta(name=PODS, labels=RESTRICTED)))
            core.create_namespaced_service_account(PODS, client.V1ServiceAccount(metadata=meta(name="default")))
        yield found
