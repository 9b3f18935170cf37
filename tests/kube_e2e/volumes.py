"""Volumes for a cluster without a StorageClass: folders of its one node, bound to the claims of the dev overlay."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tests.kube_e2e.cluster import NAMESPACE, Cluster, NotRun

FOLDER = Path("/tmp/serinus-e2e")
CLAIMS = {"serinus-controller": "5Gi", "serinus-monitor": "1Gi", "serinus-log": "5Gi"}


def make(cluster: Cluster) -> None:
    """Nothing where the cluster makes volumes itself. Raises NotRun for one that does not and is somebody else's."""
    if cluster.get("storageclasses")["items"]:
        return
    if cluster.kit is None:
        raise NotRun("the cluster of $KUBECONFIG has no StorageClass, so that no claim gets a volume")
    bound = {each["metadata"]["name"] for each in cluster.get("pv")["items"] if each["status"]["phase"] != "Released"}
    for claim in CLAIMS.keys() - bound:  # what a run left behind, perhaps of another cluster
        cluster.kubectl("delete", "pv", claim, "--ignore-not-found")
        shutil.rmtree(FOLDER / claim, ignore_errors=True)
    cluster.apply(*(_volume(claim, size) for claim, size in CLAIMS.items()))


def remove(cluster: Cluster) -> None:
    if cluster.kit is not None:
        cluster.kubectl("delete", "pv", "--ignore-not-found", *CLAIMS)
        shutil.rmtree(FOLDER, ignore_errors=True)


def _volume(claim: str, size: str) -> dict[str, Any]:
    folder = FOLDER / claim
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)  # pods are of another user, and no volume of a node's folder is given to them
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": claim},
        "spec": {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": NAMESPACE, "name": claim},
            "hostPath": {"path": str(folder), "type": "Directory"},
        },
    }
