"""From another revision to this one, in the middle of a rollout and under load: controller, then monitor and operator,
then the replicas, each while the others are of the other revision."""

from __future__ import annotations

import io
import subprocess
import tarfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serinus.rollouts import Phase
from tests.kube_e2e import volumes
from tests.kube_e2e.cluster import REPOSITORY, Cluster, until
from tests.kube_e2e.heads import moved
from tests.kube_e2e.install import build, install, ready
from tests.kube_e2e.rolled import roll
from tests.kube_e2e.serving import Served
from tests.kube_e2e.story import Story

__all__ = ["upgraded"]

BEFORE = "serinus.local/serinus:before"
LATER = ("serinus-monitor", "serinus-operator")


def upgraded(story: Story, cluster: Cluster, folder: Path, new: str, revision: str) -> None:
    sources = folder / "before"
    it = Served(cluster, BEFORE, folder / "packages")
    steps = Steps(it, folder, new)
    story.step("image of before", lambda: _image_of(cluster, folder, sources, revision), after=("image",))
    story.step("install of before", lambda: _install(cluster, folder, sources), after=("image of before",))
    story.step("all ready", lambda: _all_ready(cluster), after=("install of before",))
    story.step("flights models trained", it.train)
    story.step("a pool of before", it.pool, after=("all ready",))
    story.step("a new model, to its first answer", it.answers, after=("a pool of before", "flights models trained"))
    story.step("an open loop of requests", it.begin_load, after=("a new model, to its first answer",))
    began = ("an open loop of requests",)
    story.step("a good rollout, upgraded meanwhile", lambda: _promoted(steps), after=began)
    for line in steps.told:
        story.step(line.partition(": ")[0], lambda line=line: line.partition(": ")[2])  # type: ignore[misc]
    story.step("every pod is of the new revision", lambda: _images(cluster, new), after=began)
    story.step("the open loop, from its first request to its last", it.end_load, after=began)


@dataclass
class Steps:
    """`told`: a line for each step that was taken."""

    it: Served
    folder: Path
    new: str
    told: list[str] = field(default_factory=list)
    done: set[Phase] = field(default_factory=set)

    def follow(self, phase: Phase) -> None:
        acts = {Phase.SHADOW: self._controller, Phase.CANARY: self._others, Phase.RAMP: self._replicas}
        if phase in self.done or phase not in acts:
            return
        self.done.add(phase)
        assert self.it.load is not None
        since, began = len(self.it.load.outcomes), time.monotonic()
        what = acts[phase]()
        self.it.load.more(20)
        took = time.monotonic() - began
        self.told.append(f"{what} in {phase.value}: {self.it.loss(since)}, after {took:.1f} s")

    def _controller(self) -> str:
        """As docs/kubernetes.md says."""
        cluster, others = self.it.cluster, [f"deployment/{name}" for name in LATER]
        cluster.kubectl("rollout", "pause", *others)
        cluster.kubectl("delete", "job", "serinus-first-tokens")
        install(cluster, self.folder, self.new)
        ready(cluster, "serinus-controller")
        return "controller"

    def _others(self) -> str:
        self.it.cluster.kubectl("rollout", "resume", *(f"deployment/{name}" for name in LATER))
        for name in LATER:
            ready(self.it.cluster, name)
        return "monitor and operator"

    def _replicas(self) -> str:
        moved(self.it, {"image": self.new})
        return "replicas"


def _image_of(cluster: Cluster, folder: Path, sources: Path, revision: str) -> str:
    found = subprocess.run(["git", "archive", revision], cwd=REPOSITORY, check=True, capture_output=True, timeout=60)
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as tar:
        tar.extractall(sources, filter="data")
    return build(cluster, folder, sources, BEFORE)


def _install(cluster: Cluster, folder: Path, sources: Path) -> None:
    volumes.make(cluster)
    install(cluster, folder, BEFORE, sources)


def _all_ready(cluster: Cluster) -> None:
    cluster.kubectl("wait", "--for=condition=Complete", "job/serinus-first-tokens", "--timeout=180s")
    for name in ("serinus-controller", *LATER):
        ready(cluster, name)


def _promoted(steps: Steps) -> str:
    view, replay = roll(steps.it, steps.it.hours(), 2, steps)
    assert view.phase is Phase.DONE, f"{view.phase}: {view.history[-1].why}"
    assert len(steps.told) == 3, steps.told
    assert not replay.tally.failed, replay.tally.errors
    return f"done; 0 of {replay.tally.sent} replayed requests failed"


def _images(cluster: Cluster, new: str) -> str:
    """Also those of the Ray cluster that goes, once it is gone."""

    def old() -> list[str]:
        return [pod["metadata"]["name"] for pod in cluster.get("pods")["items"] if BEFORE in _of(pod)]

    until("pods of before to go", 120, lambda: not old())
    pods: list[dict[str, Any]] = cluster.get("pods")["items"]
    return f"{sum(new in _of(pod) for pod in pods)} of {len(pods)} pods"


def _of(pod: dict[str, Any]) -> set[str]:
    return {each["image"] for each in pod["spec"]["containers"]}
