"""The dev overlay in the cluster, with the image that was built."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.kube_e2e.cluster import NAMESPACE, REPOSITORY, Cluster, NotRun, until

OVERLAY = REPOSITORY / "deploy" / "kubernetes" / "overlays" / "dev"
BUILD = REPOSITORY / "deploy" / "image" / "build"


def image(cluster: Cluster, folder: Path) -> str:
    """The image's name; built and loaded, unless SERINUS_IMAGE names one that is there."""
    if told := os.environ.get("SERINUS_IMAGE"):
        return told
    if not BUILD.is_file():
        raise NotRun(f"{BUILD} is not there, and SERINUS_IMAGE names no image")
    return build(cluster, folder, REPOSITORY, "serinus.local/serinus:dev")


def build(cluster: Cluster, folder: Path, sources: Path, name: str) -> str:
    """The image of these sources by that name, in the cluster."""
    archive = folder / "image.tar"
    command = [str(sources / BUILD.relative_to(REPOSITORY)), str(archive)]
    subprocess.run(command, env={**os.environ, "IMAGE": name}, check=True, timeout=1200)
    cluster.load(archive)
    archive.unlink()
    return name


def install(cluster: Cluster, folder: Path, name: str, sources: Path = REPOSITORY) -> None:
    """Apply the overlay twice; the second time nothing may change, and `kubectl diff` has nothing to tell."""
    new, _, tag = name.rpartition(":")
    told: dict[str, Any] = {
        "resources": [os.path.relpath(sources.resolve() / OVERLAY.relative_to(REPOSITORY), folder.resolve())],
        "images": [{"name": "serinus.local/serinus", "newName": new, "newTag": tag}],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(told))
    for _ in range(2):
        cluster.kubectl("apply", "--server-side", "-k", str(folder))
    assert cluster.kubectl("diff", "--server-side", "-k", str(folder)) == ""


def ready(cluster: Cluster, name: str, within_s: float = 120) -> None:
    """Until all pods of this Deployment are ready. Raises AssertionError with what its pods say."""
    try:
        cluster.kubectl("rollout", "status", f"deployment/{name}", f"--timeout={within_s:g}s", timeout_s=within_s + 30)
    except AssertionError as error:
        told = cluster.kubectl("logs", f"deployment/{name}", "--tail=30", check=False)
        raise AssertionError(f"{error}\n{told}\n{_events(cluster)}") from error


def serinus(cluster: Cluster, *words: str) -> str:
    """What `kubectl serinus` prints."""
    plugin = OVERLAY.parents[1] / "kubectl-serinus"
    env = {**cluster.env, "SERINUS_COMMAND": f"{sys.executable} -m serinus.cli", "SERINUS_NAMESPACE": NAMESPACE}
    done = subprocess.run(
        [sys.executable, str(plugin), *words],
        env=env, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def delete_pod(cluster: Cluster, selector: str) -> str:
    """Delete the first pod of this selector, without waiting; its name. Raises AssertionError when there is none."""
    found = cluster.get("pods", "--selector", selector)["items"]
    assert found, f"no pod has {selector}"
    name = str(found[0]["metadata"]["name"])
    cluster.kubectl("delete", "pod", name, "--wait=false")
    return name


def replaced(cluster: Cluster, selector: str, gone: str, within_s: float = 120) -> None:
    """Until another pod of this selector is ready and that one is gone."""

    def holds() -> bool:
        pods = cluster.get("pods", "--selector", selector)["items"]
        names = {each["metadata"]["name"] for each in pods}
        return bool(pods) and gone not in names and all(is_ready(each) for each in pods)

    until(f"another pod than {gone}", within_s, holds)


def is_ready(pod: dict[str, Any]) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", ()))


def _events(cluster: Cluster) -> str:
    told = cluster.kubectl("get", "events", "--sort-by=.lastTimestamp", check=False)
    return "\n".join(told.splitlines()[-15:])
