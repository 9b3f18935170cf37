"""A pool and its models, asked for by `kubectl apply` alone; what answers them, and how long that took."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from examples.flights import data, models
from examples.flights.hours import hours
from examples.flights.replay import Hour
from serinus.client import Client
from serinus.package import digest_of
from serinus.sla import Sla
from tests.faults.load import Plan
from tests.faults.run import Run
from tests.kube_e2e.cluster import NAMESPACE, REPOSITORY, Cluster, until
from tests.kube_e2e.install import is_ready, serinus

__all__ = ["POOL", "SLA", "Served", "by_name"]

API = "serinus.dev/v1alpha1"
SLA = REPOSITORY / "examples" / "flights" / "sla.yaml"
POOL, STEADY, FLIGHTS = "default", "steady", "flights"
RATE = 20.0
READY_S, ANSWER_S = 300.0, 120.0


def by_name(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A resource of ours."""
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


@dataclass
class Served:
    """`folder`: for packages. `load`: an open loop of requests without retries to a model of its own, from its first
    answer to the end."""

    cluster: Cluster
    image: str
    folder: Path
    packages: list[Path] = field(default_factory=list)
    load: Run | None = None

    def secret(self, name: str, key: str = "token") -> str:
        return base64.b64decode(self.cluster.get("secret", name)["data"][key]).decode().strip()

    def address(self, service: str) -> str:
        spec = self.cluster.get("service", service)["spec"]
        return f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}"

    def client(self) -> Client:
        """As admin, also of other times than now."""
        return Client(
            api=self.address("serinus-controller"),
            serving=self.address(f"{POOL}-serinus"),
            token=self.secret("serinus-admin-token"),
            replay=self.secret("serinus-replay-token"),
        )

    def train(self) -> str:
        """Three versions of the flights model."""
        flights = models.prepare(data.load())
        self.packages = [models.train(number, flights, self.folder / str(number)) for number in (1, 2, 3)]
        return f"{len(self.packages)} packages"

    def pool(self) -> str:
        """Until the pool is ready. Small pods: a head, two front doors, a candidate and a shadow on one node."""
        small = {"cpu": "100m", "memory": "1Gi"}
        spec = {
            "image": self.image,
            "resources": dict.fromkeys(("front_door", "candidate", "shadow"), small)
            | {"head": {"cpu": "50m", "memory": "2Gi"}},
            "settings": {
                "replay_token_sha256": hashlib.sha256(self.secret("serinus-replay-token").encode()).hexdigest(),
                "candidate_deadline_ms": 2_000,  # two cores for a cluster, a pool and its clients: no failing for that
            },
        }
        began = time.monotonic()
        self.cluster.apply(by_name("ServingPool", POOL, spec))
        until("the RayService", 60, lambda: self.cluster.kubectl("get", "rayservice", POOL, check=False))
        made = time.monotonic() - began
        self.cluster.kubectl("wait", "--for=condition=Ready", f"pool/{POOL}", f"--timeout={READY_S:g}s", timeout_s=400)
        ready = time.monotonic() - began
        until("all pods", READY_S, self.all_ready)
        every = time.monotonic() - began
        return f"RayService after {made:.1f} s, Ready after {ready:.1f} s, every pod after {every:.1f} s"

    def all_ready(self) -> bool:
        pods = self.cluster.get("pods", "-l", f"serinus.dev/pool={POOL}")["items"]
        return len(pods) == 5 and all(map(is_ready, pods))

    def answers(self) -> str:
        """A new model, from `kubectl apply` to its first answer; its package is pushed when the model is there."""
        began = time.monotonic()
        sla = Sla.from_yaml(SLA.read_text()).model_dump(mode="json", exclude_unset=True, exclude={"model"})
        spec = {"pool": POOL, "sla": sla, "package": {"digest": digest_of(self.packages[0])}}
        self.cluster.apply(*(by_name("MultiTaskModel", name, spec) for name in (STEADY, FLIGHTS)))
        until("the models", 60, lambda: {STEADY, FLIGHTS} <= {each.model for each in self.client().models()})
        known = time.monotonic() - began
        for name in (STEADY, FLIGHTS):
            serinus(self.cluster, "push", name, str(self.packages[0]))
        pushed = time.monotonic() - began
        self.cluster.kubectl("wait", "--for=condition=Ready", f"mtm/{STEADY}", f"mtm/{FLIGHTS}", "--timeout=120s")
        stable = time.monotonic() - began
        until("the first answer", ANSWER_S, lambda: self.ask(STEADY) == 200)
        first = time.monotonic() - began
        until("the first answer about flights", ANSWER_S, lambda: self.ask(FLIGHTS) == 200)
        parts = f"known after {known:.1f} s, two packages pushed after {pushed:.1f} s, stable after {stable:.1f} s"
        return f"{parts}, first answer after {first:.1f} s"

    def hours(self, start: str = "2013-04-01") -> Iterator[Hour]:
        """Hours of flights, from that day on."""
        sla = Sla.from_yaml(SLA.read_text())
        return hours(data.load(), datetime.fromisoformat(start).replace(tzinfo=UTC), sla)

    def body(self) -> dict[str, Any]:
        """A request about a flight, as if it were of now."""
        hour: Hour = next(hour for hour in self.hours() if hour.requests)
        return {"inputs": hour.requests[0]["inputs"]}

    def ask(self, model: str) -> int:
        url = self.address(f"{POOL}-serinus")
        headers = {"authorization": f"Bearer {self.secret('serinus-replay-token')}"}
        body = self.body() if model == STEADY else next(h for h in self.hours() if h.requests).requests[0]
        return httpx.post(f"{url}/v2/models/{model}/infer", json=body, headers=headers, timeout=5).status_code

    def begin_load(self) -> str:
        url = self.address(f"{POOL}-serinus")
        plan = Plan(url=url, model=STEADY, rate=RATE, timeout_s=5.0, at_most_s=3_600.0, body=self.body())
        self.load = Run(plan)
        self.load.more(40)
        return f"{RATE:g} requests a second to {STEADY}, no retries"

    def loss(self, since: int) -> str:
        """What the open loop saw since it had that many outcomes."""
        assert self.load is not None
        found = self.load.outcomes[since:]
        failed = [each for each in found if not each.good]
        slowest = max((each.ms for each in found), default=0.0)
        words = f": {json.dumps(sorted({f'{each.status} {each.words}' for each in failed}))[:200]}" if failed else ""
        return f"{len(failed)} of {len(found)} requests failed, slowest {slowest:.0f} ms{words}"

    def end_load(self) -> str:
        assert self.load is not None
        self.load.stop()
        assert not self.load.failed, self.load.why()
        times = f"p50 {self.load.ms(0.5):.1f}, p99 {self.load.ms(0.99):.1f} ms"
        return f"0 of {len(self.load.outcomes)} requests failed, {times}"

    def memory(self) -> str:
        """Anonymous memory of each pod's first container, MiB."""
        told = []
        for pod in self.cluster.get("pods")["items"]:
            name = pod["metadata"]["name"]
            if pod["status"]["phase"] != "Running":
                continue
            read = "cat /sys/fs/cgroup/memory.stat /sys/fs/cgroup/memory/memory.stat 2>/dev/null"
            said = self.cluster.kubectl("exec", name, "--", "sh", "-c", read, check=False)
            stats = dict(line.split(" ", 1) for line in said.splitlines() if " " in line)
            held = int(stats.get("anon") or stats.get("total_rss") or 0)
            labels = pod["metadata"].get("labels", {})
            role = labels.get("serinus.dev/role") or labels.get("app.kubernetes.io/component") or name
            told.append(f"{role} {held >> 20}")
        return "MiB: " + ", ".join(sorted(told))
