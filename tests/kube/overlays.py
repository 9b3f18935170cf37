"""The manifests as Kubernetes gets them: rendered by kubectl, and sent with it."""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"
OVERLAYS = {"dev": KUBERNETES / "overlays" / "dev", "production": KUBERNETES / "overlays" / "production"}


def kubectl(binary: Path, kubeconfig: Path, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """What kubectl says and its exit code; `text`: its standard input."""
    command = [str(binary), "--kubeconfig", str(kubeconfig), "--request-timeout=60s", *words]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=120)


@functools.cache
def rendered(binary: Path, folder: Path) -> list[dict[str, Any]]:
    """The objects of a kustomization."""
    command = [str(binary), "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def in_namespace(folder: Path, name: str, namespace: str) -> Path:
    """A kustomization in this new folder: an overlay in another namespace."""
    folder.mkdir()
    told = {"namespace": namespace, "resources": [os.path.relpath(OVERLAYS[name], folder.resolve())]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(told))
    return folder


def pod_templates(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and pod template of each thing that starts pods."""
    for each in objects:
        spec, name = each.get("spec", {}), f"{each['kind']}/{each['metadata']['name']}"
        if each["kind"] == "CronJob":
            yield name, spec["jobTemplate"]["spec"]["template"]
        elif each["kind"] in ("Deployment", "Job", "StatefulSet", "DaemonSet"):
            yield name, spec["template"]
