"""A real API server with an etcd of its own, on ports that are free, for the tests of this folder.

The programs lie in $KUBEBUILDER_ASSETS, else where `../shared/kube/cluster` keeps them; else these tests are skipped.
It has neither controllers nor nodes: what is made stays, and no pod runs."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from deploy.processes import die_with_parent
from tests.controller.conftest import build

__all__ = ["ApiServer", "api_server", "build"]

KIT = Path(__file__).parents[3] / "shared" / "kube" / "cluster"
NEEDED = ("etcd", "kube-apiserver", "kubectl")
READY_S = 90.0


@dataclass(frozen=True)
class ApiServer:
    """`kubeconfig`: of an admin. `binaries`: the folder of etcd, kube-apiserver and kubectl."""

    kubeconfig: Path
    binaries: Path


def binaries() -> Path:
    """Skips the test where they are not."""
    folder = os.environ.get("KUBEBUILDER_ASSETS", "")
    if not folder and KIT.is_file():
        told = subprocess.run([str(KIT), "env"], capture_output=True, text=True, check=True, timeout=60).stdout
        folder = next(line.partition("=")[2] for line in told.splitlines() if "KUBEBUILDER_ASSETS=" in line)
    missing = [name for name in NEEDED if not folder or shutil.which(name, path=folder) is None]
    if missing:
        pytest.skip(f"no {', '.join(missing)} in {folder or '$KUBEBUILDER_ASSETS, which is not set'}")
    return Path(folder)


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    found = binaries()
    for _ in range(3):  # a port that was free may be another's a moment later
        folder = tmp_path_factory.mktemp("kubernetes")
        started = _start(found, folder)
        try:
            if _ready(started, found, folder / "kubeconfig"):
                yield ApiServer(folder / "kubeconfig", found)
                return
        finally:
            for process in reversed(started):  # one after the other: the API server's last words go to etcd
                process.terminate()
                _end(process)
    pytest.fail(f"the API server did not start: {(folder / 'kube-apiserver.log').read_text()[-2_000:]}")


def _start(programs: Path, folder: Path) -> list[subprocess.Popen[bytes]]:
    etcd, peer, port = _free_ports(3)
    token = secrets.token_hex(16)
    (folder / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n')
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, plain)
    (folder / "accounts.key").write_bytes(pem)
    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(folder / "certs" / "apiserver.crt")}
    told = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "tests",
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "admin"}}],
        "clusters": [{"name": "tests", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": token}}],
    }
    (folder / "kubeconfig").write_text(yaml.safe_dump(told))
    store, beside = f"http://127.0.0.1:{etcd}", f"http://127.0.0.1:{peer}"
    return [
        _run(programs / "etcd", folder, f"--data-dir={folder / 'etcd'}", f"--listen-client-urls={store}",
             f"--advertise-client-urls={store}", f"--listen-peer-urls={beside}",
             f"--initial-advertise-peer-urls={beside}", f"--initial-cluster=default={beside}"),
        _run(programs / "kube-apiserver", folder, f"--etcd-servers={store}", "--bind-address=127.0.0.1",
             f"--secure-port={port}", f"--cert-dir={folder / 'certs'}", f"--token-auth-file={folder / 'tokens.csv'}",
             "--service-account-issuer=https://kubernetes.default.svc", "--authorization-mode=RBAC",
             f"--service-account-key-file={folder / 'accounts.key'}",
             f"--service-account-signing-key-file={folder / 'accounts.key'}",
             "--service-cluster-ip-range=10.97.0.0/24", "--profiling=false"),
    ]  # fmt: skip


def _run(program: Path, folder: Path, *words: str) -> subprocess.Popen[bytes]:
    with (folder / f"{program.name}.log").open("wb") as log:
        command = [str(program), *words]
        return subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=die_with_parent)  # noqa: PLW1509


def _ready(started: list[subprocess.Popen[bytes]], programs: Path, kubeconfig: Path) -> bool:
    """Until it says that it is ready, all its own roles made; False when one of its processes has ended."""
    command = [str(programs / "kubectl"), "--kubeconfig", str(kubeconfig), "--request-timeout=5s"]
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and all(process.poll() is None for process in started):
        asked = [*command, "get", "--raw", "/readyz"]
        if subprocess.run(asked, capture_output=True, check=False, timeout=30).returncode == 0:
            return True
        time.sleep(0.2)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()
