"""The processes of the system in their pods, without any model."""

from __future__ import annotations

import base64
import json
import time

from tests.kube_e2e.cluster import REPOSITORY, Cluster, until
from tests.kube_e2e.install import delete_pod, ready, replaced, serinus
from tests.kube_e2e.story import Story

COMPONENT = "app.kubernetes.io/component={}"


def system(story: Story, cluster: Cluster) -> None:
    """Come up, be asked, lose pods, exchange a token."""
    story.step("first tokens", lambda: _tokens(cluster), after=("install",))
    for name in ("controller", "monitor", "operator"):
        story.step(f"{name} ready", lambda each=name: ready(cluster, f"serinus-{each}"), after=("first tokens",))
    story.step("kubectl serinus", lambda: _asked(cluster), after=("controller ready",))
    story.step("a token in no log", lambda: _silent(cluster), after=("controller ready",))
    story.step("read-only, not root", lambda: _locked(cluster), after=("controller ready",))
    story.step("controller deleted", lambda: _controller_gone(cluster), after=("kubectl serinus",))
    story.step("monitor deleted", lambda: _monitor_gone(cluster), after=("monitor ready",))
    story.step("a lost database restored", lambda: _restored(cluster), after=("controller deleted",))


def _tokens(cluster: Cluster) -> None:
    cluster.kubectl("wait", "--for=condition=Complete", "job/serinus-first-tokens", "--timeout=180s")


def _asked(cluster: Cluster) -> str:
    me = serinus(cluster, "token", "me").strip()
    assert me == "first-admin: admin", me
    return me


def _silent(cluster: Cluster) -> None:
    """No pod has a token in its log, its environment or its spec."""
    secrets = cluster.get("secrets")["items"]
    tokens = [value for each in secrets for key, value in each.get("data", {}).items() if "token" in key]
    words = [base64.b64decode(value).decode().strip() for value in tokens if not value.startswith("Ww")]
    words = [word for word in words if not word.startswith("[")]
    assert len(words) >= 6, [each["metadata"]["name"] for each in secrets]
    said = cluster.kubectl("get", "pods,configmaps,deployments,jobs,events", "--output", "json")
    for pod in cluster.get("pods")["items"]:
        said += cluster.kubectl("logs", pod["metadata"]["name"], "--all-containers", check=False)
    assert not any(word in said for word in words)


def _locked(cluster: Cluster) -> None:
    told = "import os, json; print(json.dumps([os.getuid(), os.access('/', os.W_OK), os.access('/usr', os.W_OK)]))"
    said = cluster.kubectl("exec", "deployment/serinus-controller", "--", "python", "-c", told)
    assert json.loads(said) == [1000, False, False], said


def _controller_gone(cluster: Cluster) -> None:
    """What it knew is on its volume."""

    def known() -> list[str]:
        return [each["name"] for each in json.loads(serinus(cluster, "token", "list", "--json"))]

    name = f"kept-{int(time.time())}"
    serinus(cluster, "token", "create", name, "--role", "viewer")
    before = known()
    assert name in before
    selector = COMPONENT.format("controller")
    replaced(cluster, selector, delete_pod(cluster, selector))
    assert until("the controller", 60, known) == before


def _monitor_gone(cluster: Cluster) -> None:
    selector = COMPONENT.format("monitor")
    replaced(cluster, selector, delete_pod(cluster, selector))


def _restored(cluster: Cluster) -> None:
    """A backup while it runs; then the database is lost; then it is put back as docs/kubernetes.md says."""
    name, deployment = f"saved-{int(time.time())}", "deployment/serinus-controller"
    serinus(cluster, "token", "create", name, "--role", "viewer")
    cluster.kubectl("exec", deployment, "--", "rm", "-f", "/var/lib/serinus/backup.db")
    cluster.kubectl("exec", deployment, "--", "python", "-m", "controller", "backup", "/var/lib/serinus/backup.db")
    cluster.kubectl("exec", deployment, "--", "sh", "-c", "rm /var/lib/serinus/controller.db*")
    cluster.kubectl("scale", deployment, "--replicas=0")
    until("no controller", 60, lambda: not cluster.get("pods", "-l", COMPONENT.format("controller"))["items"])
    cluster.kubectl("delete", "job", "serinus-restore", "--ignore-not-found")
    cluster.kubectl("apply", "-f", "-", text=restore(cluster))
    cluster.kubectl("wait", "--for=condition=Complete", "job/serinus-restore", "--timeout=120s")
    cluster.kubectl("scale", deployment, "--replicas=1")
    ready(cluster, "serinus-controller")
    assert name in serinus(cluster, "token", "list", "--json")


def restore(cluster: Cluster) -> str:
    """The Job that puts a backup back, with the image that the controller has."""
    spec = cluster.get("deployment", "serinus-controller")["spec"]["template"]["spec"]
    told = cluster.kubectl("kustomize", str(REPOSITORY / "deploy" / "kubernetes" / "restore"))
    return told.replace("serinus.local/serinus:dev", spec["containers"][0]["image"])
