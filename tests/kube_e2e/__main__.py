"""`python -m tests.kube_e2e`: the dev overlay in a real cluster, models served and rolled out by `kubectl apply`.

KEEP=1 leaves it installed. HEADS=1 deletes the Ray head as well, without and with Redis. FROM=REVISION installs that
revision instead and upgrades it in the middle of a rollout.
SERINUS_IMAGE: an image that the cluster has already."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from tests.kube_e2e import volumes
from tests.kube_e2e.cluster import NAMESPACE, Cluster, NotRun, find
from tests.kube_e2e.heads import heads
from tests.kube_e2e.install import image, install
from tests.kube_e2e.rolled import served
from tests.kube_e2e.serving import Served
from tests.kube_e2e.story import Story
from tests.kube_e2e.system import system
from tests.kube_e2e.upgrade import upgraded


def main() -> int:
    try:
        cluster = find()
    except NotRun as why:
        print(f"!!! THE KUBERNETES TESTS DID NOT RUN: {why}")
        return 0
    story = Story()
    with tempfile.TemporaryDirectory(prefix="serinus-e2e-") as name:
        folder = Path(name)
        built = story.step("image", lambda: image(cluster, folder))
        try:
            if revision := os.environ.get("FROM"):
                upgraded(story, cluster, folder, built or "", revision)
            else:
                _whole(story, cluster, folder, built or "")
        finally:
            if not os.environ.get("KEEP"):
                story.step("uninstall", lambda: _uninstall(cluster))
    return story.end()


def _whole(story: Story, cluster: Cluster, folder: Path, built: str) -> None:
    story.step("install", lambda: _install(cluster, folder, built), after=("image",))
    system(story, cluster)
    it = Served(cluster, built, folder / "packages")
    served(story, it)
    if os.environ.get("HEADS"):
        heads(story, it)


def _install(cluster: Cluster, folder: Path, built: str) -> None:
    volumes.make(cluster)
    install(cluster, folder, built)


def _uninstall(cluster: Cluster) -> None:
    """As docs/kubernetes.md says: what the operator holds first, then the rest."""
    cluster.kubectl("annotate", "multitaskmodels,servingpools", "--all", "serinus.dev/retire=true", check=False)
    for kind in ("rollouts", "multitaskmodels", "servingpools"):
        cluster.kubectl("delete", kind, "--all", "--timeout=120s")
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=240s")
    volumes.remove(cluster)


if __name__ == "__main__":
    sys.exit(main())
